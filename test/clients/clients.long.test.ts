/**
 * Real client programs against the whole of Shoal, over every transport and in every version that they have. What has run
 * is the first table of docs/clients.md.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Credential } from '../support/broker.js';
import { Stack } from '../support/stack.js';
import { until } from '../support/until.js';
import { type Client, clients } from './catalogue.js';
import { afterCrashMs } from './program.js';
import { Survivor } from './crash.js';
import { settle } from './document.js';
import { Peer } from './peer.js';
import { ClientProgram, type Task, type Transport, type Version } from './program.js';
import { talk } from './talk.js';

let stack: Stack;
let account: Credential;
let peer: Peer;
const programs = new Set<ClientProgram>();
beforeAll(async () => {
  stack = await Stack.start();
  account = await (await stack.tenant()).account();
  peer = await Peer.connect(stack.endpoints, account, 'peer');
}, 60_000);
afterAll(async () => {
  for (const program of programs) program.kill();
  await peer?.close();
  await stack?.close();
});

/** Starts it with a task that has `root` as its topic. */
function start(
  client: Client,
  [version, transport]: readonly [Version, Transport],
  root: string,
  task: Partial<Task> = {},
): ClientProgram {
  const program = new ClientProgram(client.command, {
    ...{ endpoints: stack.endpoints, account, transport, version },
    ...{ clientId: root.replaceAll('/', '-'), stored: false, willTopic: `${root}/will` },
    ...task,
  });
  programs.add(program);
  return program;
}

/** What each has shown. */
class Shown {
  readonly talked = new Map<Version, Transport[]>();
  readonly words = new Map<Version, string>();
  survived = false;
}
const shown = new Map(clients.map((client) => [client, new Shown()]));
const installed = clients.filter(({ release }) => release !== undefined);
let conversations = 0;

test.runIf(process.env['CI'])('everything is installed (test/clients/install.sh)', () => {
  expect(clients.filter((client) => !installed.includes(client)).map(({ name, from }) => `${name}: ${from}`)).toEqual(
    [],
  );
});

describe.each(clients)('$name', (client) => {
  beforeAll(() => {
    if (client.build === undefined || client.release === undefined) return;
    const [compiler = '', ...args] = client.build;
    mkdirSync(dirname(client.command[0] ?? ''), { recursive: true });
    execFileSync(compiler, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  }, 60_000);

  describe.skipIf(client.release === undefined)(client.release ?? `is not installed here (${client.from})`, () => {
    test.concurrent.each(client.runs)('MQTT level %d over %s', async (version, transport) => {
      const root = `talk/${++conversations}`;
      const program = start(client, [version, transport], root);
      await talk(program, peer, root, client.qosMax ?? 2).finally(() => program.kill());
      const { talked } = shown.get(client)!;
      talked.set(version, [...(talked.get(version) ?? []), transport]);
    });

    const firsts = client.runs.filter(([version], i) => client.runs.findIndex(([other]) => other === version) === i);
    test.concurrent.each(firsts)('MQTT level %d over %s with a wrong password', async (version, transport) => {
      const wrong = { account: { ...account, password: 'not the password' } };
      const program = start(client, [version, transport], `wrong/${++conversations}`, wrong);
      const told = await program.refused();
      // Node-RED names itself and the broker.
      shown.get(client)!.words.set(version, told.replace(/wrong-\d+@\S+/, 'CLIENT-ID@URL'));
    });
  });
});

test('stored sessions lose nothing when the broker is killed', { timeout: 120_000 }, async () => {
  const survivors = installed.map((client) => {
    const root = `crash/${++conversations}`;
    return { client, survivor: new Survivor(start(client, client.runs.at(-1)!, root, { stored: true }), peer, root) };
  });
  const failures: string[] = [];
  const talks = survivors.map(({ client, survivor }) =>
    survivor.talk().then(
      () => (shown.get(client)!.survived = true),
      (error: unknown) => failures.push(`${client.name}: ${String(error)}`),
    ),
  );
  const isReady = (): boolean =>
    survivors.filter(({ survivor }) => survivor.isUnderWay).length + failures.length >= survivors.length;
  await until(isReady, 'that all are under way', afterCrashMs);
  stack.killBroker();
  await Promise.all(talks);
  expect(failures).toEqual([]);
});

const names: Record<Transport, string> = { mqtt: 'TCP', mqtts: 'TLS', ws: 'WS', wss: 'WSS' };

function cells(client: Client): string[] {
  const { talked, words, survived } = shown.get(client)!;
  const over = (version: Version): string => {
    const which = talked.get(version) ?? [];
    const sorted = (Object.keys(names) as Transport[]).filter((transport) => which.includes(transport));
    return sorted.map((transport) => names[transport]).join(', ') || '–';
  };
  // Most libraries have one sentence for all versions, or one before 5.0 and another.
  const told = [...new Set(([3, 4, 5] as const).map((version) => words.get(version)))]
    .filter((text) => text !== undefined)
    .map((text) => `\`${text}\``)
    .join(', ');
  return [client.release ?? '', over(3), over(4), over(5), survived ? 'nothing lost' : 'not tried', told];
}

test('docs/clients.md has what has run', async () => {
  const head = ['client', 'tried', 'MQTT 3.1', 'MQTT 3.1.1', 'MQTT 5.0', 'broker killed', 'wrong password reads'];
  const rows = clients.map((client) => ({
    name: client.name,
    cells: installed.includes(client) ? cells(client) : undefined,
  }));
  await settle({ block: 'clients', head, rows });
});
