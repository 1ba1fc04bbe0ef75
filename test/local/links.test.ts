/** Real broker processes over one database that are linked, one of them serving: what they and the API say of it. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { openApi, operatorKey } from '../contract/tenants-api/api.js';
import { type Dynalite, startDynalite } from '../support/dynalite.js';
import { until } from '../support/until.js';
import { freePort } from '../support/ports.js';
import { BrokerProcess, endBrokers } from './broker-process.js';

let dynalite: Dynalite;
let tables = 0;
beforeAll(async () => {
  dynalite = await startDynalite();
});
afterAll(async () => await dynalite.stop());
afterEach(endBrokers);

const keys = ['a key that the brokers of these tests have', 'a key that one of them has by mistake'] as const;

interface Linked {
  readonly broker: BrokerProcess;
  health(): Promise<string>;
  /** Up, silent, missing. */
  links(): Promise<string>;
}

/** Brokers over tables of their own. */
async function cluster() {
  const dynamo = await dynalite.open();
  const tablePrefix = `test${tables++}-`;
  expect(dynamo.tableName('cluster')).toBe(`${tablePrefix}cluster`);
  const start = async (key: string | undefined): Promise<Linked> => {
    const port = String(await freePort());
    const env = { SHOAL_DYNAMODB_ENDPOINT: dynalite.endpoint, SHOAL_TABLE_PREFIX: tablePrefix };
    const broker = new BrokerProcess({ ...env, SHOAL_HEALTH_PORT: port, ...(key && { SHOAL_CLUSTER_KEY: key }) });
    // Also of one that stands by; while it does not answer it says nothing.
    const ask = async (path: string): Promise<string> => {
      const response = await fetch(`http://127.0.0.1:${port}${path}`).catch(() => undefined);
      return response === undefined ? '' : `${response.status} ${(await response.text()).trim()}`;
    };
    const links = async (): Promise<string> => {
      const lines = (await ask('/metrics')).split('\n');
      const read = (state: string) => lines.find((line) => line.startsWith(`shoal_links{state="${state}"} `));
      return ['up', 'silent', 'missing'].map((state) => read(state)?.split(' ')[1]).join();
    };
    return { broker, health: () => ask('/healthz'), links };
  };
  const list = async () =>
    (
      (await openApi(dynamo).call('GET', '/v1/brokers', { key: operatorKey })).body as {
        items: { state: string; address?: string; links?: { up: number; expected: number } }[];
      }
    ).items;
  return { start, list };
}

const logs = (one: Linked, words: string) => () => one.broker.stderr.includes(words);

test('three brokers are linked, serving or not; one that is frozen is silent, and gone when its lease has ended', async () => {
  const { start, list } = await cluster();
  const a = await start(keys[0]);
  await a.broker.ready();
  expect(await a.links()).toBe('0,0,0');
  const all = [a, await start(keys[0]), await start(keys[0])] as const;
  const [, b, c] = all;
  const everyone = async (some: readonly Linked[], wanted: string): Promise<boolean> =>
    (await Promise.all(some.map((one) => one.links()))).every((links) => links === wanted);
  await until(() => everyone(all, '2,0,0'), 'all links');
  expect(await Promise.all(all.map((one) => one.health()))).toEqual(['200 ok', '503 standing by', '503 standing by']);
  await until(async () => (await list()).every(({ links }) => links?.up === 2), 'the links in the leases');
  const listed = await list();
  expect(listed.map(({ state, links }) => [state, links])).toEqual(
    ['serving', 'standing-by', 'standing-by'].map((state) => [state, { up: 2, expected: 2 }]),
  );
  expect(new Set(listed.map(({ address }) => address)).size).toBe(3);
  for (const { address } of listed) expect(address).toMatch(/^127\.0\.0\.1:\d+$/);

  c.broker.process.kill('SIGSTOP');
  for (const one of [a, b]) await until(logs(one, 'a link is silent'), 'the silence');
  c.broker.process.kill('SIGKILL');
  await until(() => everyone([a, b], '1,0,0'), 'two members');
  a.broker.process.kill('SIGKILL');
  await b.broker.ready();
  await until(() => everyone([b], '0,0,0'), 'a broker alone');
}, 90_000);

test('a broker with another key is told so, and so are the others; no log has a key', async () => {
  const { start, list } = await cluster();
  const a = await start(keys[0]);
  await a.broker.ready();
  const b = await start(keys[1]);
  for (const one of [a, b]) await until(logs(one, 'compare SHOAL_CLUSTER_KEY'), 'the words');
  await until(async () => (await a.links()) === '0,0,1', 'a link that is missing');
  await until(async () => (await list()).every(({ links }) => links?.expected === 1), 'the same in the leases');
  expect(await b.health()).toBe('503 standing by');
  for (const { broker } of [a, b]) for (const key of keys) expect(broker.stderr).not.toContain(key);
}, 60_000);

test('without a key there are no links, and nothing is said of them', async () => {
  const { start, list } = await cluster();
  const a = await start(undefined);
  await a.broker.ready();
  expect([await a.links(), a.broker.stderr]).toEqual([',,', expect.not.stringContaining('link')]);
  const [own] = await list();
  expect(own).not.toHaveProperty('address');
}, 60_000);
