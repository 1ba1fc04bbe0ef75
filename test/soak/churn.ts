/** One round of work: clients and tenants of every kind come, do something, mostly leave without finishing, and are gone. */
import { connect as connectTcp, type Socket } from 'node:net';
import { readFileSync } from 'node:fs';
import { connect as connectTls } from 'node:tls';
import mqtt from 'mqtt';
import { WebSocket } from 'ws';
import type { Endpoints } from '../../services/local/endpoints.js';
import { call } from '../local/shoal.js';
import type { Chance } from '../support/chance.js';
import { type ConnectFields, LiveClient } from '../support/live-client.js';
import { bytes, connectBytes, publishBytes, subscribeBytes } from '../support/packet-bytes.js';

/** Steps of one kind under way. */
const atOnce = 8;
const boundMs = 30_000;
/** What a busy machine refuses is asked for again. */
const tries = 10;
const againMs = 500;
/** Four times the slots of the broker's table of topic names: nearly all are taken then. */
const namesToFill = 65_536;
/** As long as the other topics here are. */
const topicBytes = 50;
const stepWithinMs = 120_000;

export interface Tenant {
  readonly id: string;
  readonly key: string;
  readonly username: string;
  readonly password: string;
}

export class Churn {
  readonly #endpoints: Endpoints;
  readonly #chance: Chance;
  readonly #ca: Buffer;
  #tenant!: Tenant;
  #names = 0;
  /** Those that a step which failed has left open. */
  #opened: LiveClient[] = [];
  steps = 0;
  /** What steps failed with: a machine that is too busy is no leak. */
  readonly failures: unknown[] = [];

  constructor(endpoints: Endpoints, chance: Chance) {
    this.#endpoints = endpoints;
    this.#chance = chance;
    this.#ca = readFileSync(endpoints.caFile);
  }

  /** The tenant whose clients come and go; it stays for the whole soak. */
  async begin(): Promise<void> {
    this.#tenant = await this.#signUp('soak');
    const unlimited = { databaseUnitsPerSecond: null, databaseUnitsPerMonth: null };
    const quotas = { connections: null, publishPerSecond: null, deliverPerSecond: null, ...unlimited };
    await this.#api('PUT', '/v1/tenants/soak/quotas', this.#endpoints.operatorKey, quotas, 200);
    await this.#fillTopicTable();
  }

  /** A table that fills up for the whole time would look like a leak. */
  async #fillTopicTable(): Promise<void> {
    const client = await this.#client('filler');
    for (let i = 0; i < namesToFill; i++) {
      client.packets.sendPublish({ topic: `soak/filler/${i}`.padEnd(topicBytes, 'x'), payload: '' });
      if (i % 1000 === 0) await client.ping();
    }
    await client.disconnect();
  }

  /** The same amounts each time; `scale` 1 takes some ten seconds. */
  async round(scale: number): Promise<void> {
    const kinds: readonly [number, () => Promise<void>][] = [
      [120, () => this.#brokenOff()],
      [20, () => this.#brokenOffWebSocket()],
      [30, () => this.#takenOver()],
      [20, () => this.#stored()],
      [6, () => this.#group()],
      [6, () => this.#retained()],
      [15, () => this.#halfDone()],
      [20, () => this.#will()],
      [6, () => this.#library()],
      [10, () => this.#slowReader()],
      [10, () => this.#manyTopics()],
      [10, () => this.#credential()],
      [30, () => this.#strangeRequest()],
      [8, () => this.#passingTenant()],
    ];
    await Promise.all(kinds.map(([count, step]) => this.#repeat(Math.ceil(count * scale), step)));
    for (const client of this.#opened.splice(0)) client.destroy();
  }

  async #repeat(count: number, step: () => Promise<void>): Promise<void> {
    let begun = 0;
    const worker = async (): Promise<void> => {
      while (begun++ < count) {
        this.steps++;
        await inTime(step()).catch((error: unknown) => this.failures.push(error));
      }
    };
    await Promise.all(Array.from({ length: Math.min(atOnce, count) }, worker));
  }

  #name(kind: string): string {
    return `${kind}-${++this.#names}`;
  }

  #login(clientId: string) {
    const { username, password } = this.#tenant;
    return { version: 5, clientId, username, password } as const;
  }

  async #open(): Promise<LiveClient> {
    const client = await LiveClient.open(this.#endpoints.mqtt.port);
    this.#opened.push(client);
    return client;
  }

  /** Connected, with a session that lives on for so many seconds. */
  async #client(clientId: string, sessionExpiryInterval = 0, more: object = {}): Promise<LiveClient> {
    return await this.#enter({
      ...this.#login(clientId),
      clean: false,
      properties: { sessionExpiryInterval },
      ...more,
    });
  }

  /** A broker whose database is slow may say 0x88 or 0x89: try again. */
  async #enter(fields: ConnectFields): Promise<LiveClient> {
    for (let left = tries; ; left--) {
      const client = await this.#open();
      const { reasonCode = 0 } = await client.tryConnect(fields);
      if (reasonCode === 0) return client;
      client.destroy();
      if (left === 0) throw new Error(`CONNECT was refused with 0x${reasonCode.toString(16)}`);
      await sleep(againMs);
    }
  }

  /** All that a client sends in its life, cut somewhere: in the handshake of TLS, in CONNECT, in the middle of a packet. */
  async #brokenOff(): Promise<void> {
    const chance = this.#chance;
    const login = this.#login(this.#name('broken'));
    const all = Buffer.concat([
      connectBytes({ ...login, will: { topic: 'soak/will', payload: 'w' } }),
      subscribeBytes([{ filter: 'soak/#', qos: 1 }], 5, 1),
      publishBytes({ topic: 'soak/broken', payload: Buffer.alloc(2000), qos: 2, packetId: 2 }, 5),
      bytes.packet('pubrel', 2, bytes.u16(2)),
    ]);
    const cut = all.subarray(0, chance.between(0, chance.happens(0.5) ? 60 : all.length));
    const { port } = this.#endpoints[chance.happens(0.7) ? 'mqtt' : 'mqtts'];
    const isTls = port === this.#endpoints.mqtts.port && chance.happens(0.6);
    const socket: Socket = isTls
      ? connectTls({ port, host: '127.0.0.1', ca: this.#ca })
      : connectTcp(port, '127.0.0.1');
    socket.on('error', () => {});
    const gone = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.resume();
    socket.write(cut);
    await sleep(chance.between(0, 80));
    if (!isTls && chance.happens(0.3)) socket.resetAndDestroy();
    else if (chance.happens(0.5)) socket.destroy();
    else {
      socket.end();
      const timer = setTimeout(() => socket.destroy(), 1000);
      await gone;
      clearTimeout(timer);
    }
    await gone;
  }

  /** An upgrade that is refused, one that is left half done, and one that says nothing. */
  async #brokenOffWebSocket(): Promise<void> {
    const chance = this.#chance;
    if (chance.happens(0.3)) {
      const socket = connectTcp(this.#endpoints.ws.port, '127.0.0.1');
      socket.on('error', () => {});
      socket.write('GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websoc'.slice(0, chance.between(0, 50)));
      await sleep(50);
      socket.destroy();
      return;
    }
    const path = chance.happens(0.3) ? 'wrong' : 'mqtt';
    const socket = new WebSocket(`ws://127.0.0.1:${this.#endpoints.ws.port}/${path}`, ['mqtt']);
    await new Promise<void>((resolve) => {
      socket.on('error', () => resolve());
      socket.on('close', () => resolve());
      socket.on('open', () => {
        if (chance.happens(0.5)) socket.send(connectBytes(this.#login(this.#name('ws'))));
        setTimeout(() => socket.terminate(), chance.between(0, 50));
      });
    });
  }

  async #takenOver(): Promise<void> {
    const clientId = this.#name('taken');
    const clients: LiveClient[] = [];
    for (let i = 0; i < 3; i++) clients.push(await this.#client(clientId, 2));
    await clients[2]!.subscribe({ filter: `soak/${clientId}`, qos: 1 });
    clients.forEach((client) => client.destroy());
  }

  /** Messages wait for a session; it is taken up again, or expires with what it has. */
  async #stored(): Promise<void> {
    const clientId = this.#name('stored');
    const topic = `soak/${clientId}`;
    const first = await this.#client(clientId, this.#chance.between(1, 4));
    await first.subscribe({ filter: topic, qos: 2 });
    if (this.#chance.happens(0.5)) await first.disconnect();
    else first.destroy();
    const publisher = await this.#client(this.#name('publisher'));
    for (let i = 0; i < 20; i++) await publisher.publish({ topic, payload: `message ${i}`, qos: i % 2 ? 2 : 1 });
    await publisher.disconnect();
    if (this.#chance.happens(0.5)) return;
    const again = await this.#client(clientId, 1);
    await again.ping();
    again.destroy();
  }

  async #group(): Promise<void> {
    const name = this.#name('group');
    const members = await Promise.all(
      [0, 1, 2].map(async (i) => {
        const member = await this.#client(`${name}-${i}`, i === 0 ? 0 : 2);
        await member.subscribe({ filter: `$share/${name}/soak/${name}/+`, qos: 2 });
        return member;
      }),
    );
    const publisher = await this.#client(this.#name('publisher'));
    const publish = async (from: number): Promise<void> => {
      for (let i = from; i < from + 10; i++)
        await publisher.publish({ topic: `soak/${name}/${i}`, payload: 'm', qos: i % 2 ? 2 : 1 });
    };
    await publish(0);
    for (const member of members.slice(0, 2)) member.destroy();
    await publish(10);
    members[2]!.destroy();
    await publish(20);
    await publisher.disconnect();
  }

  async #retained(): Promise<void> {
    const name = this.#name('retained');
    const client = await this.#client(name);
    const topics = Array.from({ length: 10 }, (_, i) => `soak/${name}/${i}`);
    try {
      for (const topic of topics) await client.publish({ topic, payload: Buffer.alloc(200), qos: 1, retain: true });
      const reader = await this.#client(`${name}-reader`, 1);
      await reader.subscribe({ filter: `soak/${name}/#`, qos: 1 });
      if (this.#chance.happens(0.5)) await reader.receivedCount(10, boundMs);
      reader.destroy();
    } finally {
      for (const topic of topics) await client.publish({ topic, payload: '', qos: 1, retain: true });
    }
    await client.disconnect();
  }

  /** QoS 2 in both directions, left in the middle. */
  async #halfDone(): Promise<void> {
    const clientId = this.#name('half');
    const client = await this.#client(clientId, this.#chance.between(0, 3));
    await client.subscribe({ filter: `soak/${clientId}`, qos: 2 });
    for (let i = 0; i < 10; i++) client.packets.sendPublish({ topic: `soak/${clientId}`, payload: 'h', qos: 2 });
    await sleep(this.#chance.between(0, 30));
    client.destroy();
  }

  async #will(): Promise<void> {
    const chance = this.#chance;
    const clientId = this.#name('will');
    const will = {
      topic: `soak/wills/${clientId}`,
      payload: Buffer.alloc(chance.between(0, 3000)),
      qos: chance.between(0, 2),
      properties: { willDelayInterval: chance.between(0, 2) },
    };
    const client = await this.#client(clientId, chance.between(0, 2), { will });
    if (chance.happens(0.3)) await client.disconnect();
    else client.destroy();
  }

  /** A library that people use, through TLS and WebSocket. */
  async #library(): Promise<void> {
    const chance = this.#chance;
    const { mqtts, ws, wss } = this.#endpoints;
    const clientId = this.#name('library');
    const { username, password } = this.#tenant;
    const url = [
      `mqtts://localhost:${mqtts.port}`,
      `ws://localhost:${ws.port}/mqtt`,
      `wss://localhost:${wss.port}/mqtt`,
    ];
    const client = await mqtt.connectAsync(url[chance.between(0, 2)]!, {
      ...{ clientId, username, password, ca: this.#ca, reconnectPeriod: 0 },
      protocolVersion: chance.happens(0.5) ? 5 : 4,
    });
    client.on('error', () => {});
    await client.subscribeAsync(`soak/${clientId}/#`, { qos: 2 });
    for (let i = 0; i < 5; i++)
      await client.publishAsync(`soak/${clientId}/${i}`, Buffer.alloc(500), { qos: (i % 3) as 0 | 1 | 2 });
    await client.endAsync(chance.happens(0.3));
  }

  /** Stops reading while much is sent to it, and goes. */
  async #slowReader(): Promise<void> {
    const name = this.#name('slow');
    const slow = await this.#client(name);
    await slow.subscribe({ filter: `soak/${name}`, qos: 1 });
    slow.packets.stopReading();
    const publisher = await this.#client(this.#name('publisher'));
    for (let i = 0; i < 50; i++)
      await publisher.publish({ topic: `soak/${name}`, payload: Buffer.alloc(10_000), qos: i % 2 ? 1 : 0 });
    await publisher.disconnect();
    slow.destroy();
  }

  /** Topics that nobody uses again, and filters that nobody has twice. */
  async #manyTopics(): Promise<void> {
    const name = this.#name('topics');
    const client = await this.#client(name);
    for (let i = 0; i < 50; i++) {
      if (i % 5 === 0) await client.subscribe({ filter: `soak/${name}/+/${i}`, qos: 0 });
      await client.publish({
        topic: `soak/${name}/some-longer-level-of-a-topic/${i}`,
        payload: 't',
        qos: i % 2 ? 1 : 0,
      });
    }
    await client.unsubscribe(`soak/${name}/+/0`);
    client.destroy();
  }

  async #credential(): Promise<void> {
    const { id, key } = this.#tenant;
    const name = this.#name('credential');
    const path = `/v1/tenants/${id}/credentials`;
    const grants = [{ effect: 'allow', action: 'all', topic: 'soak/${clientid}/#' }];
    const { username, password } = await this.#api('POST', path, key, { name, grants }, 201);
    try {
      const own = { username: username as string, password: password as string };
      const client = await this.#enter({ ...this.#login(name), ...own });
      const wrong = await this.#open();
      await wrong.tryConnect({ ...this.#login(`${name}-wrong`), password: 'not the password' }).catch(() => {});
      wrong.destroy();
      await this.#api('POST', `${path}/${name}/rotate`, key, {}, 200);
      client.destroy();
    } finally {
      await this.#api('DELETE', `${path}/${name}`, key, undefined, 204);
    }
  }

  async #strangeRequest(): Promise<void> {
    const chance = this.#chance;
    const { key } = this.#tenant;
    const { url } = this.#endpoints.api;
    const asked = [
      ['GET', '/v1/tenants/soak/sessions', key],
      ['GET', '/v1/tenants/soak/quotas', key],
      ['GET', `/v1/tenants/${this.#name('nobody')}`, key],
      ['POST', '/v1/tenants', 'wrong'],
      ['GET', `/${this.#name('path')}`, undefined],
      ['PUT', '/v1/tenants/soak', key],
      ['GET', '/openapi.json', undefined],
    ][chance.between(0, 6)]!;
    const body = asked[0] === 'POST' ? { name: 'NOT A NAME', [this.#name('field')]: 1 } : undefined;
    await call(`${url}${asked[1]}`, {
      method: asked[0]!,
      ...(asked[2] !== undefined && { key: asked[2] }),
      ...(body && { body }),
    });
    // And one that is left in the middle.
    const socket = connectTcp(this.#endpoints.api.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(
      'POST /v1/tenants HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"na'.slice(0, chance.between(0, 80)),
    );
    await sleep(chance.between(0, 50));
    socket.destroy();
  }

  /** Signed up, used by clients, deleted. */
  async #passingTenant(): Promise<void> {
    const tenant = await this.#signUp(this.#name('tenant'));
    const { username, password } = tenant;
    const login = (clientId: string) => ({ ...this.#login(clientId), username, password });
    try {
      const lasting = { clean: false, properties: { sessionExpiryInterval: 3600 } };
      const client = await this.#enter({ ...login('one'), ...lasting });
      await client.subscribe({ filter: 'a/#', qos: 1 }, { filter: '$share/g/b', qos: 1 });
      await client.publish({ topic: 'a/kept', payload: 'k', qos: 1, retain: true });
      client.destroy();
      const other = await this.#enter(login('two'));
      for (let i = 0; i < 5; i++) await other.publish({ topic: i % 2 ? 'a/x' : 'b', payload: 'm', qos: 1 });
    } finally {
      await this.#api('DELETE', `/v1/tenants/${tenant.id}`, tenant.key, undefined, 204);
    }
  }

  async #signUp(id: string): Promise<Tenant> {
    const { operatorKey } = this.#endpoints;
    const { apiKey } = await this.#api('POST', '/v1/tenants', operatorKey, { name: id }, 201);
    const key = apiKey as string;
    const made = await this.#api('POST', `/v1/tenants/${id}/credentials`, key, { name: 'device' }, 201);
    return { id, key, username: made['username'] as string, password: made['password'] as string };
  }

  async #api(
    method: string,
    path: string,
    key: string,
    body: object | undefined,
    expected: number,
  ): Promise<Record<string, unknown>> {
    for (let left = tries; ; left--) {
      const answer = await call(`${this.#endpoints.api.url}${path}`, { method, key, ...(body && { body }) });
      if (answer.status === expected) return answer.body;
      if (answer.status !== 503 || left === 0)
        throw new Error(`${method} ${path} answered ${answer.status} ${JSON.stringify(answer.body)}`);
      await sleep(againMs);
    }
  }
}

/** What a client waits for may never come, when its broker has lost it: that is no reason to wait for ever. */
async function inTime(step: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<void>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`a step took more than ${stepWithinMs / 1000} s`)), stepWithinMs);
  });
  try {
    await Promise.race([step, tooLate]);
  } finally {
    clearTimeout(timer);
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
