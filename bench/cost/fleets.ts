/** The fleets that docs/cost.md reckons through: what each of its devices does in a day. */

export interface Workload {
  readonly title: string;
  /** What it is, for the document. */
  readonly words: string;
  readonly telemetryPerDay: number;
  /** Of these, not acknowledged by the back end within 50 ms, so that they are stored. */
  readonly telemetryStoredShare: number;
  readonly commandsPerDay: number;
  /** Of these, sent while the device is away. */
  readonly commandsStoredShare: number;
  readonly payloadBytes: number;
  readonly topicBytes: number;
  readonly keepAliveSeconds: number;
  readonly reconnectsPerDay: number;
}

const everywhere = { payloadBytes: 256, topicBytes: 40, keepAliveSeconds: 300, reconnectsPerDay: 1 };

export const workloads = {
  silent: {
    ...everywhere,
    title: 'Devices that are connected and silent',
    words:
      'Connected all day with a stored session and one QoS 1 subscription; keep alive 300 s; one reconnect a day with ' +
      'a full TLS handshake, evenly spread. No messages.',
    telemetryPerDay: 0,
    telemetryStoredShare: 0,
    commandsPerDay: 0,
    commandsStoredShare: 0,
  },
  telemetry: {
    ...everywhere,
    title: 'Devices that report every ten minutes',
    words:
      'As above, and: 144 messages a day from each device, QoS 1, 256 bytes of payload and a topic of 40, each delivered ' +
      'once to a back end on the internet that has a stored session and is slower than 50 ms for 1 % of them, which are ' +
      'therefore stored; two commands a day to each device, QoS 1, of the same size, 10 % of them while it is offline.',
    telemetryPerDay: 144,
    telemetryStoredShare: 0.01,
    commandsPerDay: 2,
    commandsStoredShare: 0.1,
  },
} as const satisfies Record<string, Workload>;

export const fleetSizes = [0, 10_000, 1_000_000, 10_000_000] as const;
