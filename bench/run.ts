/**
 * `npm run bench`: every scenario against every broker in interleaved rounds, so that a machine that gets slower or
 * faster meanwhile does so for all of them. See README.md beside this file for what is measured and how to read it.
 */
import { mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { brokers } from './brokers/brokers.js';
import { Fleet } from './fleet.js';
import type { Outcome } from './load/job.js';
import { cores, measure } from './measure.js';
import { measureNeighbours } from './neighbours/neighbours.js';
import { readOptions, usage, type Options } from './options.js';
import { topFunctions } from './profile.js';
import { report, type Outcomes } from './report.js';
import { scenarios } from './scenarios.js';
import { trials } from './trials/trials.js';

const reference = 'mosquitto';

const options = parse();
const names = options.brokers.filter((name) => {
  const why = brokers[name]!.unavailable(options);
  if (why !== undefined) console.log(`${name} is left out: ${why}`);
  return why === undefined;
});
const pinning = cores ? `broker on core ${cores.broker}, load on core ${cores.load}` : 'not pinned to cores';
console.log(`Node ${process.version}, ${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, ${pinning}`);
console.log(`MQTT ${options.version === 5 ? '5.0' : '3.1.1'}, ${options.rounds} rounds of ${options.seconds} s`);

const raw: Record<string, Record<string, readonly Outcome[]>> = {};
for (const scenario of options.scenarios) {
  const profileFolder = options.profile ? mkdtempSync(join(tmpdir(), 'shoal-profile-')) : undefined;
  const outcomes = await runScenario(scenario, profileFolder);
  console.log(report(scenarios[scenario]!, outcomes, reference));
  if (profileFolder !== undefined) printProfiles(profileFolder);
  raw[scenario] = Object.fromEntries(outcomes);
}
const tried: Record<string, unknown> = {};
for (const trial of options.trials) {
  const profileFolder = options.profile ? mkdtempSync(join(tmpdir(), 'shoal-profile-')) : undefined;
  const { database, quotas, seconds, sizes, brokerRoot: root } = options;
  tried[trial] = await trials[trial]!({
    ...{
      database,
      quotas,
      seconds,
      ...sizes,
      brokers: names.filter((name) => brokers[name]!.unavailable({ version: 5 }) === undefined),
    },
    ...(root !== undefined && { root }),
    ...(profileFolder !== undefined && { profileFolder }),
  });
  if (profileFolder !== undefined) printProfiles(profileFolder);
}
const neighbours = options.neighbours && (await measureNeighbours(options.neighbours, options));
if (options.json !== undefined)
  writeFileSync(options.json, `${JSON.stringify({ options, outcomes: raw, trials: tried, neighbours }, null, 2)}\n`);

async function runScenario(scenarioName: string, profileFolder: string | undefined): Promise<Outcomes> {
  const scenario = scenarios[scenarioName]!;
  const shoal = {
    quotas: options.quotas,
    database: options.database,
    ...(options.brokerRoot !== undefined && { rootBefore: options.brokerRoot }),
    ...(profileFolder !== undefined && { profileFolder }),
  };
  const durable = scenario.durable ?? false;
  const version = durable ? 5 : options.version;
  const able = names.filter((name) => brokers[name]!.unavailable({ version }) === undefined);
  const fleet = new Fleet({ version, shoal, unboundedQueues: durable });
  const stopAndExit = (): void => void fleet.stopAll().then(() => process.exit(130));
  process.once('SIGINT', stopAndExit);
  const outcomes = new Map<string, Outcome[]>(able.map((name) => [name, []]));
  for (let round = 0; round < options.rounds; round++) {
    for (const name of able) {
      outcomes.get(name)!.push(await runOnce(fleet, name, scenarioName));
      // Memory that an earlier round left behind would be taken for free, and a queue would still be emptied.
      if (durable || scenario.kind === 'idle') await fleet.stop(name);
    }
  }
  await fleet.stopAll();
  process.off('SIGINT', stopAndExit);
  return outcomes;
}

async function runOnce(fleet: Fleet, name: string, scenarioName: string): Promise<Outcome> {
  try {
    const broker = await fleet.take(name);
    const { seconds, warmUpSeconds } = options;
    const outcome = await measure(broker, { scenario: scenarios[scenarioName]!, seconds, warmUpSeconds });
    // What is left of a run that went wrong must not be in the way of the next one.
    if ('failed' in outcome) await fleet.stop(name);
    return outcome;
  } catch (error) {
    return { failed: error instanceof Error ? error.message : String(error) };
  }
}

function printProfiles(folder: string): void {
  const files = readdirSync(folder).map((file) => join(folder, file));
  if (files.length > 0) console.log(`\n${topFunctions(files)}`);
}

function parse(): Options {
  try {
    const read = readOptions(process.argv.slice(2));
    if (read) return read;
    console.log(usage);
    process.exit(0);
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
    process.exit(2);
  }
}
