/** What a tenant may use: nineteen kinds in one table, and plans that give each kind its default. */

export type QuotaKind =
  | 'connections'
  | 'publishPerSecond'
  | 'deliverPerSecond'
  | 'bytesPerSecond'
  | 'messageBytesMax'
  | 'subscriptionsPerSession'
  | 'sessionExpirySecondsMax'
  | 'queuedMessagesPerSession'
  | 'retainedMessages'
  | 'retainedBytes'
  | 'credentials'
  | 'connectsPerSecond'
  | 'packetsPerSecond'
  | 'subscribesPerSecond'
  | 'subscriptions'
  | 'cpuShare'
  | 'memoryBytes'
  | 'databaseUnitsPerSecond'
  | 'databaseUnitsPerMonth';

/** null: no limit. */
export type Quotas = Readonly<Record<QuotaKind, number | null>>;

export interface QuotaKindRow {
  readonly kind: QuotaKind;
  readonly unit: string;
  /** Default of the free plan. */
  readonly free: number;
  /** The least that makes sense. */
  readonly min: number;
  /** Holds whatever the operator sets, null included. */
  readonly hardMax?: number;
  /** Why the default is what it is. */
  readonly reason: string;
}

const kib = 1024;
const mib = 1024 * kib;
const daySeconds = 86_400;

export const quotaKinds: readonly QuotaKindRow[] = [
  {
    kind: 'connections',
    unit: 'simultaneous connections',
    free: 1000,
    min: 0,
    reason: 'A pilot of a device fleet fits, and a thousand idle connections take a broker 40 to 80 MB.',
  },
  {
    kind: 'publishPerSecond',
    unit: 'messages per second from all clients',
    free: 1000,
    min: 0,
    reason: 'Each of the thousand connections may report once a second.',
  },
  {
    kind: 'deliverPerSecond',
    unit: 'messages per second to all clients',
    free: 5000,
    min: 0,
    reason: 'Each published message may reach five subscribers, more than most applications have.',
  },
  {
    kind: 'bytesPerSecond',
    unit: 'bytes per second of messages, each way',
    free: mib,
    min: 0,
    reason: 'A thousand messages per second of 1 KiB, and below a hundredth of what one broker carries.',
  },
  {
    kind: 'messageBytesMax',
    unit: 'bytes of one packet with a message',
    free: 256 * kib,
    min: 1,
    hardMax: 384 * kib,
    reason: 'Enough for images and firmware chunks; a stored message has to fit into a database item of 400 KB.',
  },
  {
    kind: 'subscriptionsPerSession',
    unit: 'subscriptions',
    free: 100,
    min: 0,
    reason: 'Devices have a handful; those that need more can use wildcards.',
  },
  {
    kind: 'sessionExpirySecondsMax',
    unit: 'seconds that a session outlives its connection',
    free: 7 * daySeconds,
    min: 0,
    reason: 'A device that is switched off over a long weekend misses nothing.',
  },
  {
    kind: 'queuedMessagesPerSession',
    unit: 'messages waiting for one client',
    free: 1000,
    min: 0,
    reason: 'A message a minute for 16 hours, and a bound on what one lost device may cost.',
  },
  {
    kind: 'retainedMessages',
    unit: 'retained messages',
    free: 10_000,
    min: 0,
    reason: 'Ten states for each of a thousand devices.',
  },
  {
    kind: 'retainedBytes',
    unit: 'bytes of retained messages, topics included',
    free: 10 * mib,
    min: 0,
    reason: 'Ten thousand retained messages of 1 KiB, and a few seconds to read at the rate of the plan.',
  },
  {
    kind: 'credentials',
    unit: 'credentials',
    free: 2000,
    min: 0,
    reason: 'One for each of a thousand devices, and as many again to replace them all.',
  },
  {
    kind: 'connectsPerSecond',
    unit: 'CONNECTs per second',
    free: 100,
    min: 1,
    reason: 'A thousand devices are back within ten seconds, at a tenth of the time of one broker.',
  },
  {
    kind: 'packetsPerSecond',
    unit: 'packets of every type per second from all clients',
    free: 20_000,
    min: 1,
    reason: 'The message rates with QoS 2 both ways make 12 000, and the rest is left for pings.',
  },
  {
    kind: 'subscribesPerSecond',
    unit: 'topic filters per second in SUBSCRIBE and UNSUBSCRIBE',
    free: 1000,
    min: 1,
    reason: 'A hundred devices that come back in a second may subscribe to ten filters each.',
  },
  {
    kind: 'subscriptions',
    unit: 'subscriptions of all sessions',
    free: 20_000,
    min: 0,
    reason: 'Twenty for each of a thousand devices, which take a broker about 10 MB.',
  },
  {
    kind: 'cpuShare',
    unit: 'percent of the time of a broker while others wait',
    free: 25,
    min: 1,
    hardMax: 100,
    reason: 'Four tenants that take all they can share a broker, and a quiet one waits 2 ms for each of them.',
  },
  {
    kind: 'memoryBytes',
    unit: 'bytes of memory on a broker',
    free: 256 * mib,
    min: mib,
    reason: 'Room for ten thousand offline sessions, or a thousand clients with full queues.',
  },
  {
    kind: 'databaseUnitsPerSecond',
    unit: 'write units of the database per second; five read units count as one',
    free: 500,
    min: 1,
    reason: 'A hundred CONNECTs of stored sessions, or 500 stored messages of up to 1 KB.',
  },
  {
    kind: 'databaseUnitsPerMonth',
    unit: 'write units of the database per calendar month',
    free: 10_000_000,
    min: 0,
    reason: 'About 6 dollars, and a stored message every fifteen minutes for each of three thousand devices.',
  },
];

export type PlanName = 'free';

export interface Plan {
  readonly name: PlanName;
  readonly quotas: Quotas;
}

export const plans: Readonly<Record<PlanName, Plan>> = {
  free: { name: 'free', quotas: quotasOf((row) => row.free) },
};

/** What holds for a tenant: its overrides over the plan's defaults, within the hard bounds. */
export function effectiveQuotas(plan: PlanName, overrides: Partial<Quotas>): Quotas {
  return quotasOf(({ kind, hardMax }) => {
    const override = overrides[kind];
    const wanted = override === undefined ? plans[plan].quotas[kind] : override;
    return hardMax === undefined ? wanted : Math.min(wanted ?? hardMax, hardMax);
  });
}

/** Undefined when `value` can be set as this quota, otherwise what is wrong with it. */
export function quotaValueError(kind: QuotaKind, value: number | null): string | undefined {
  const { min, hardMax } = quotaKinds.find((row) => row.kind === kind)!;
  if (value === null) return undefined;
  if (!Number.isSafeInteger(value) || value < min) return `${kind} must be null or a whole number of at least ${min}`;
  if (hardMax !== undefined && value > hardMax) return `${kind} can be at most ${hardMax}`;
  return undefined;
}

function quotasOf(value: (row: QuotaKindRow) => number | null): Quotas {
  return Object.fromEntries(quotaKinds.map((row) => [row.kind, value(row)])) as Quotas;
}
