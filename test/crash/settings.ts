/** How long and how random: `SHOAL_CRASH_ROUNDS=100 SHOAL_CRASH_SEED=7 npx vitest run test/crash`. */
export const seed = Number(process.env['SHOAL_CRASH_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

/** How often the broker is killed; `few` is what every run of the tests can afford. */
export const rounds = (few: number): number => Number(process.env['SHOAL_CRASH_ROUNDS'] ?? few);

/** A restart waits for the lease of the broker before it; the rest is load and drain. */
export const withinMs = (count: number): number => 150_000 + count * 15_000;

export const note = (what: string): string =>
  `${what}; the same chances again: SHOAL_CRASH_SEED=${seed} (what the machine does in between differs)`;
