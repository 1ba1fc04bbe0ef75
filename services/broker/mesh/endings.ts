/**
 * Why a link ended or never came up: one row an ending. The name is the metric label and the word in the log; the code is what a `bye`
 * tells the other broker, and is frozen. Rows without a code are not told: nobody is there to hear it.
 */
export interface Ending {
  readonly name: string;
  readonly code: number | undefined;
  readonly words: string;
}

const row = (name: string, code: number | undefined, words: string): Ending => ({ name, code, words });

export const endings = {
  malformedFrame: row('malformed-frame', 1, 'a frame does not have the layout of its type'),
  frameTooLarge: row('frame-too-large', 2, 'a frame is longer than a frame may be'),
  unknownFrame: row('unknown-frame', 3, 'a frame of a type that this release does not know and must not skip'),
  unexpectedFrame: row('unexpected-frame', 4, 'a frame that is not allowed at this point'),
  notAHello: row('not-a-hello', 5, 'what came first is no hello of a broker'),
  noCommonVersion: row(
    'no-common-version',
    6,
    'the releases of the two brokers have no version of the frames in common',
  ),
  otherCluster: row('other-cluster', 7, 'it belongs to another cluster: its table prefix is another one'),
  otherBroker: row('other-broker', 8, 'another broker is at this address now'),
  wrongDialler: row('wrong-dialler', 9, 'of two brokers that with the lower id dials'),
  creditExceeded: row('credit-exceeded', 10, 'it has sent more than it had credit for'),
  greetingLate: row('greeting-late', 11, 'no hello came in time'),
  silent: row('silent', 12, 'nothing has been heard for the time of many pings'),
  replaced: row('replaced', 13, 'a later connection of the same broker has taken its place'),
  outdated: row('outdated', 14, 'a later connection of the same broker is there already'),
  leaseEnded: row('lease-ended', 15, 'the lease of the broker has ended'),
  stopping: row('stopping', 16, 'the broker stops'),
  knockHeard: row('knock-heard', 17, 'a broker that has joined wanted to be dialled'),
  ownFault: row('own-fault', 18, 'a fault in handling what came over the link'),
  tooManyMembers: row('too-many-members', 19, 'more brokers than a cluster may have'),
  bye: row('bye', undefined, 'the other broker has ended it for a reason that this release does not know'),
  connectionLost: row('connection-lost', undefined, 'the connection broke'),
  unreachable: row('unreachable', undefined, 'nobody answers at its address'),
  handshakeFailed: row('handshake-failed', undefined, 'the TLS handshake failed'),
  unknownKey: row('unknown-key', undefined, 'the two brokers have no cluster key in common: compare SHOAL_CLUSTER_KEY'),
  crowdedOut: row('crowded-out', undefined, 'too many that had not said hello yet'),
} as const satisfies Record<string, Ending>;

const byCode = new Map<number, Ending>(
  Object.values(endings).flatMap((ending) => (ending.code === undefined ? [] : [[ending.code, ending]])),
);

/** What a `bye` says; a later release may have endings that this one does not know. */
export const endingOf = (code: number): Ending => byCode.get(code) ?? endings.bye;
