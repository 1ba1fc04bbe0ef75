/**
 * `npm run bench:interest -- --filters 10000000`: what the subscriptions of other brokers cost a broker: memory of each, and
 * the time to hear of one and to match a topic. The memory is that of the process, after the garbage collector.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Command } from 'commander';
import { BrokerSets } from '../services/broker/interest/broker-sets.js';
import { RemoteInterest } from '../services/broker/interest/remote-interest.js';
import { Shape } from '../services/broker/interest/shape.js';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const options = new Command('npm run bench:interest --')
  .option('--filters <n>', 'of all tenants together', '10000000')
  .option('--tenants <n>', 'with the same number of filters each', '100')
  .option('--brokers <n>', 'that have them', '10')
  .parse()
  .opts<{ filters: string; tenants: string; brokers: string }>();
const filters = Number(options.filters);
const tenants = Number(options.tenants);
const brokers = Number(options.brokers);

const bytes = (): number => {
  collect();
  return process.memoryUsage.rss();
};
const cpuMs = (): number => process.cpuUsage().user / 1000;

const before = bytes();
const startMs = cpuMs();
const sets = new BrokerSets();
const interests = Array.from({ length: tenants }, () => new RemoteInterest(sets));
const shape = Shape.of('devices/x/commands');
let told = 0;
for (; told < filters; told++) {
  const slot = told % brokers;
  interests[told % tenants]!.set(slot, shape, shape.ofFilter(`devices/${told}/commands`), true);
}
const setNs = ((cpuMs() - startMs) * 1e6) / filters;
const held = bytes() - before;
console.log(`${filters} filters of ${tenants} tenants on ${brokers} brokers`);
const ofTables = interests.reduce((sum, interest) => sum + interest.bytes, 0);
console.log(
  `memory of the process: ${(held / filters).toFixed(1)} bytes a filter; of the tables: ${(ofTables / filters).toFixed(1)}`,
);
console.log(`to hear of one: ${setNs.toFixed(0)} ns CPU`);

for (const shapes of [1, 5, 50]) {
  const interest = interests[0]!;
  for (let i = interest.shapes; i < shapes; i++) {
    const filter = [...Array.from({ length: i % 25 }, () => 'x'), '+', ...(i < 25 ? [] : ['#'])].join('/');
    const other = Shape.of(filter);
    interest.set(0, other, other.ofFilter(filter), true);
  }
  const rounds = 200_000;
  let found = 0;
  const fromMs = cpuMs();
  for (let i = 0; i < rounds; i++) found += interest.match(`devices/${(i * 97 * tenants) % filters}/commands`).length;
  const matchNs = ((cpuMs() - fromMs) * 1e6) / rounds;
  console.log(
    `to match a topic against ${interest.shapes} shapes: ${matchNs.toFixed(0)} ns CPU (${found} found in ${rounds})`,
  );
}
