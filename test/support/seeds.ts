/**
 * Every random suite, its files, and the seeds that it runs with: `npm test` and `npm run test:long` do the same each time.
 * `npm run explore` draws new seeds; one that has shown a fault is added to its suite here, and stays when it is mended.
 *
 * `SHOAL_TEST_SEED=<seed>` runs a suite with one seed in place of these, `SHOAL_TEST_RUNS=<n>` as often as it says (cases,
 * stories, hostile connections or kills, whatever the suite counts).
 */
export const suites = {
  /** Small properties of single parts. What fast-check finds is better kept as an example in the test itself. */
  properties: {
    files: [
      'test/unit/kernel',
      'test/unit/dynamo',
      'test/unit/fanout',
      'test/unit/topic',
      'test/unit/tenancy/access',
      'test/unit/transport/drain',
      'test/unit/transport/proxy-header',
      'test/unit/outbox',
      'test/unit/mesh/frames',
      'test/fuzz/decoder',
      'test/contract/tenants-api/cursors',
      'test/proxy',
    ],
    seeds: [20_261_126],
    runs: undefined,
  },
  /** What is on its way to one client, of both kinds of sessions. */
  outbounds: { files: ['test/unit/session/outbound-stories'], seeds: [20_261_126], runs: 2000 },
  /** Commits with a DynamoDB in trouble. */
  commits: { files: ['test/contract/broker/group-commit'], seeds: [20_261_126], runs: undefined },
  /** Clients, commits and crashes around one admission, with a clock and tables of their own. */
  stories: { files: ['test/unit/admission/durability'], seeds: [20_261_126, 821_036_573], runs: 400 },
  /** Brokers that die one after the other between two writes. */
  deaths: { files: ['test/unit/admission/deaths'], seeds: [20_261_126], runs: undefined },
  /** Brokers that serve together, die at random, and inherit from each other. */
  survivors: { files: ['test/contract/broker/survivors'], seeds: [20_261_128, 5], runs: undefined },
  /** Hostile connections. */
  fuzz: { files: ['test/fuzz/socket'], seeds: [20_261_126], runs: undefined },
  /** Simulated brokers: links that are cut, processes that stand still, die and come. The first has found that a link slower than its pings proves nothing, the second that a SUBACK can wait for ever. */
  sim: { files: ['test/sim'], seeds: [2, 37, 14, 20_261_127], runs: undefined },
  isolation: { files: ['test/isolation'], seeds: [20_261_126], runs: undefined },
  differential: { files: ['test/differential'], seeds: [20_261_126, 335_058_965], runs: undefined },
  /** Processes that are killed. What the machine does in between differs: a seed repeats the chances, not the run. */
  crash: { files: ['test/crash', 'test/drain', 'test/local/trouble'], seeds: [20_261_126], runs: undefined },
} as const satisfies Record<string, Suite>;

interface Suite {
  /** As vitest takes them: parts of their paths. */
  readonly files: readonly string[];
  readonly seeds: readonly [number, ...number[]];
  /** How many `npm run explore` asks for, where it is worth more than each run of the tests can afford. */
  readonly runs: number | undefined;
}

export function seedsOf(suite: keyof typeof suites): readonly [number, ...number[]] {
  const wanted = process.env['SHOAL_TEST_SEED'];
  return wanted === undefined ? suites[suite].seeds : [Number(wanted)];
}

/** `affordable` is what every run of the tests does. */
export const runsOf = (affordable: number): number => Number(process.env['SHOAL_TEST_RUNS'] ?? affordable);

/** Of the properties. */
export const [seed] = seedsOf('properties');

/** Settings for `fc.assert`. */
export const random = (affordable: number): { seed: number; numRuns: number } => ({
  seed,
  numRuns: runsOf(affordable),
});
