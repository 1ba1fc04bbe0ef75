/**
 * `npm run bench -- --only neighbours`: what a tenant on the free plan can do to another one on the same broker. Each attack
 * has a broker of its own, at which the neighbour is measured twice: quiet, and under attack.
 */
import { mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duel, type Measured } from '../../test/neighbours/duel.js';
import { rowOf, type AttackName } from '../../test/neighbours/attacks/attacks.js';
import { preloads } from '../brokers/shoal.js';
import { cores } from '../measure.js';
import type { NeighbourOptions, Options } from '../options.js';
import { pin } from '../proc.js';
import { topFunctions } from '../profile.js';
import { heading, row, verdicts } from './report.js';

export interface Duelled {
  readonly quiet: Measured;
  readonly attacked: Measured;
}

export type Failed = { readonly failed: string };

export type NeighbourChoices = Pick<Options, 'brokerRoot' | 'database' | 'profile'>;

export async function measureNeighbours(options: NeighbourOptions, choices: NeighbourChoices) {
  console.log(`\n${heading}`);
  const results: Partial<Record<AttackName, Duelled | Failed>> = {};
  for (const name of options.attacks) {
    const folder = choices.profile ? mkdtempSync(join(tmpdir(), 'shoal-profile-')) : undefined;
    const result = await duel(name, options, choices, folder).catch((error: unknown): Failed => ({
      failed: error instanceof Error ? error.message : String(error),
    }));
    results[name] = result;
    console.log(row(name, result));
    if (folder !== undefined && readdirSync(folder).length > 0)
      console.log(topFunctions(readdirSync(folder).map((file) => join(folder, file))));
  }
  console.log(verdicts(results));
  return results;
}

async function duel(
  name: AttackName,
  { seconds }: NeighbourOptions,
  { brokerRoot, database }: NeighbourChoices,
  folder: string | undefined,
): Promise<Duelled> {
  const fight = await Duel.start({
    choosesPasswords: rowOf(name).chosenPasswords === true,
    ...(brokerRoot !== undefined && { root: brokerRoot }),
    preloads: await preloads({ database, ...(folder !== undefined && { profileFolder: folder }) }),
    // The broker has a core of its own, as it has in production; all others share what is left.
    onProcess: (pid, part) => cores && pin(pid, part === 'broker' ? cores.broker : cores.load),
  });
  const profile = (): void => void (folder !== undefined && process.kill(fight.site.endpoints.pids.broker, 'SIGUSR2'));
  try {
    const quiet = await fight.quiet(seconds);
    const attacked = await fight.attack(name, seconds, { onBegin: profile, onEnd: profile });
    return { quiet, attacked };
  } finally {
    await fight.close();
  }
}
