/**
 * `npm run sim -- --seed 7 --brokers 5 --steps 10000`: brokers, clients and trouble under a clock of its own. The same seed is
 * the same run. Ends with 1 if a promise was broken. `--runs 100` takes that many seeds from the first on.
 */
import { Command } from 'commander';
import { World } from './world.js';

const options = new Command('npm run sim --')
  .option('--seed <n>', 'the first seed', '1')
  .option('--runs <n>', 'how many seeds', '1')
  .option('--brokers <n>', 'brokers at the beginning', '3')
  .option('--steps <n>', 'what clients and fate do', '3000')
  .parse()
  .opts<{ seed: string; runs: string; brokers: string; steps: string }>();

const first = Number(options.seed);
let broken = 0;
for (let seed = first; seed < first + Number(options.runs); seed++) {
  const world = new World({ seed, brokers: Number(options.brokers), steps: Number(options.steps) });
  const { complaints, ...figures } = world.run();
  console.log(`seed ${seed}: ${JSON.stringify(figures)}`);
  for (const complaint of complaints.slice(0, 10)) console.log(`  ${complaint}`);
  if (complaints.length > 0) broken++;
}
if (broken > 0) {
  console.log(`${broken} of ${options.runs} runs have broken a promise`);
  process.exitCode = 1;
}
