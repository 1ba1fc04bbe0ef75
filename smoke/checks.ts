/**
 * What the smoke test does, step by step. Each step takes what the ones before have made, and returns a few words on
 * what it saw or throws SmokeFailure. Called by `main.ts`, which also sees to it that `cleanUp` runs.
 */
import { randomBytes } from 'node:crypto';
import { Api, said } from './api.js';
import { Device } from './device.js';
import { SmokeFailure } from './failure.js';
import type { Options } from './options.js';

export interface Step {
  readonly name: string;
  run(trial: Trial): Promise<string>;
}

/** A run: what has been made so far. */
export interface Trial {
  readonly options: Options;
  readonly api: Api;
  /** Somebody wants it to stop. */
  readonly abort: AbortSignal;
  readonly devices: Device[];
  /** Known before it is there: what was asked for has to be removed, too. */
  readonly tenant: string;
  /** The sign-up was sent and not answered. */
  isSignUpOpen?: boolean;
  key?: string;
  endpoint?: string;
  wss?: string;
  username?: string;
  password?: string;
}

export function newTrial(options: Options, abort: AbortSignal): Trial {
  const tenant = `smoke-${randomBytes(6).toString('hex')}`;
  return { options, api: new Api(options), abort, devices: [], tenant };
}

/** The name of a thing of a trial that an earlier step has made. */
function made<K extends 'key' | 'endpoint' | 'wss' | 'username' | 'password'>(trial: Trial, name: K): string {
  const value = trial[name];
  if (value === undefined) throw new SmokeFailure(`the API did not return the ${name}`);
  return value;
}

async function connect(trial: Trial, clientId: string, more: { expiry?: number; url?: string } = {}): Promise<Device> {
  const { url = made(trial, 'endpoint'), expiry = 0 } = more;
  const credential = { username: made(trial, 'username'), password: made(trial, 'password') };
  const options = { url, clientId, sessionExpirySeconds: expiry, ...credential };
  const device = await Device.connect(options, trial.options, trial.abort);
  trial.devices.push(device);
  return device;
}

const tenantPath = ({ tenant }: Trial): string => `/v1/tenants/${tenant}`;
const expirySeconds = 300;

const health: Step = {
  name: 'reach the API',
  async run({ api, options }) {
    const answer = await api.call({ method: 'GET', path: '/healthz' });
    if (answer.status === 200) return options.api;
    throw new SmokeFailure(`GET /healthz answered ${said(answer)} ${JSON.stringify(answer.body['parts'] ?? '')}`);
  },
};

const signUp: Step = {
  name: 'sign up',
  async run(trial) {
    const { api, options, tenant } = trial;
    const json = { name: tenant };
    trial.isSignUpOpen = true;
    const answer = await api.call({ method: 'POST', path: '/v1/tenants', key: options.operatorKey, json });
    trial.isSignUpOpen = false;
    if (answer.status !== 201) throw new SmokeFailure(refusedSignUp(said(answer), options.operatorKey !== undefined));
    const { apiKey, endpoints } = answer.body as { apiKey: string; endpoints: Readonly<Record<string, string>> };
    trial.key = apiKey;
    const endpoint = options.endpoint ?? endpoints['mqtts'];
    if (endpoint !== undefined) trial.endpoint = endpoint;
    const host = options.endpoint === undefined ? undefined : new URL(options.endpoint).hostname;
    const told = host === undefined ? endpoints['wss'] : `wss://${host}/mqtt`;
    const wss = options.wss === true ? told : options.wss;
    if (wss !== undefined) trial.wss = wss;
    return `tenant ${tenant}`;
  },
};

function refusedSignUp(answer: string, withKey: boolean): string {
  if (!/^(401|403|429)/.test(answer)) return `the sign-up was answered with ${answer}`;
  return withKey
    ? `the sign-up is refused with ${answer} although an operator key was given: is it the right one?`
    : `the sign-up is refused with ${answer}: sign up as the operator, with --operator-key or SHOAL_OPERATOR_KEY`;
}

const credential: Step = {
  name: 'create a credential',
  async run(trial) {
    const json = { name: 'device' };
    const call = { method: 'POST', path: `${tenantPath(trial)}/credentials`, key: made(trial, 'key'), json };
    const { username, password } = await trial.api.expect(201, call);
    trial.username = String(username);
    trial.password = String(password);
    return trial.username;
  },
};

const overTls: Step = {
  name: 'connect over TLS',
  async run(trial) {
    await connect(trial, 'smoke-main');
    return made(trial, 'endpoint');
  },
};

const main = ({ devices: [device] }: Trial): Device => device!;

const subscribing: Step = {
  name: 'subscribe',
  async run(trial) {
    await main(trial).subscribe('smoke/#', 2);
    return 'smoke/# with QoS 2';
  },
};

const publishing = (qos: 0 | 1 | 2): Step => ({
  name: `publish with QoS ${qos}`,
  async run(trial) {
    const payload = `qos ${qos}`;
    await main(trial).publish('smoke/qos', payload, { qos });
    const got = await main(trial).message(payload);
    if (got.qos !== qos || got.retain) throw new SmokeFailure(`it arrived as ${JSON.stringify(got)}`);
    return 'came back once';
  },
});

const retained: Step = {
  name: 'retain a message',
  async run(trial) {
    await main(trial).publish('kept/one', 'kept', { qos: 1, retain: true });
    const late = await connect(trial, 'smoke-late');
    await late.subscribe('kept/+', 1);
    const got = await late.message('kept');
    if (!got.retain) throw new SmokeFailure('it arrived without the RETAIN flag');
    await main(trial).publish('kept/one', '', { qos: 1, retain: true });
    await late.message('');
    const later = await connect(trial, 'smoke-later');
    await later.subscribe('kept/+', 1);
    await later.subscribe('later', 1);
    await later.publish('later', 'done', { qos: 1 });
    await later.message('done');
    if (later.received.length > 1) throw new SmokeFailure('it is still there after it was cleared');
    await Promise.all([late.end(), later.end()]);
    return 'kept for a late subscriber, and cleared';
  },
};

const persistent: Step = {
  name: 'keep a session',
  async run(trial) {
    const first = await connect(trial, 'smoke-away', { expiry: expirySeconds });
    await first.subscribe('away/#', 1);
    await first.end();
    await main(trial).publish('away/1', 'while you were away', { qos: 1 });
    const back = await connect(trial, 'smoke-away', { expiry: expirySeconds });
    if (!back.sessionPresent) throw new SmokeFailure('the broker has not kept the session');
    await back.message('while you were away');
    return 'and the message that came meanwhile';
  },
};

const overWebSocket: Step = {
  name: 'connect over WebSocket',
  async run(trial) {
    const device = await connect(trial, 'smoke-browser', { url: made(trial, 'wss') });
    await device.publish('smoke/ws', 'over a web socket', { qos: 1 });
    await main(trial).message('over a web socket');
    return made(trial, 'wss');
  },
};

interface Session {
  readonly clientId: string;
  readonly connected: boolean;
  readonly address: string;
}

const listing: Step = {
  name: 'list the sessions',
  async run(trial) {
    const call = { method: 'GET', path: `${tenantPath(trial)}/sessions`, key: made(trial, 'key') };
    const { items } = (await trial.api.expect(200, call)) as unknown as { items: readonly Session[] };
    const wanted = ['smoke-main', 'smoke-away', ...(trial.wss === undefined ? [] : ['smoke-browser'])].sort();
    const connected = items.filter((session) => session.connected).map(({ clientId }) => clientId);
    if (connected.sort().join() !== wanted.join())
      throw new SmokeFailure(`connected are ${connected.join(', ') || 'none'}, not ${wanted.join(', ')}`);
    return `${connected.length} connected, from ${items.find(({ clientId }) => clientId === 'smoke-main')?.address}`;
  },
};

const kicking: Step = {
  name: 'end a session',
  async run(trial) {
    const path = `${tenantPath(trial)}/sessions?clientId=smoke-away`;
    await trial.api.expect(202, { method: 'DELETE', path, key: made(trial, 'key') });
    const away = trial.devices.findLast((device) => device.clientId === 'smoke-away')!;
    await away.until(() => away.hasEnded, 'the end of the connection');
    return 'the broker has disconnected its client';
  },
};

export function stepsOf({ wss }: Options): readonly Step[] {
  const webSocket = wss === undefined ? [] : [overWebSocket];
  const messages = [subscribing, ...([0, 1, 2] as const).map(publishing), retained, persistent];
  return [health, signUp, credential, overTls, ...messages, ...webSocket, listing, kicking];
}

/** Asked again while the API says that there is more to remove. */
const attemptsMax = 10;

/** Removes all that the run has made, whatever it got to. Not stopped by the abort that it may follow. */
export const cleanUp: Step = {
  name: 'clean up',
  async run(trial) {
    for (const device of trial.devices) device.destroy();
    const { key = trial.options.operatorKey } = trial;
    if (key === undefined && trial.isSignUpOpen) throw new SmokeFailure('it is unknown whether the sign-up succeeded');
    if (key === undefined) return 'there is nothing to remove';
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const answer = await trial.api.call({ method: 'DELETE', path: tenantPath(trial), key });
      if (answer.status === 204) return `tenant ${trial.tenant} is deleted`;
      if (answer.status === 404) return 'there is nothing to remove';
      if (answer.status !== 202) throw new SmokeFailure(`the deletion was answered with ${said(answer)}`);
      await new Promise((resolve) => setTimeout(resolve, answer.retryAfterSeconds * 1000));
    }
    throw new SmokeFailure('there is still something to remove');
  },
};
