/** What the contract of the commit log and the tests of what DynamoDB adds to it have in common. */
import { expect } from 'vitest';
import type { CommitLog, CommitSource, StoredMessage, Write } from '../../../services/broker/inbox/inbox.js';
import { Message } from '../../../services/broker/message/message.js';
import { GroupCommit } from '../../../services/broker/store/store.js';
import type { Dynamo } from '../../../services/dynamo/dynamo.js';
import { Metrics, silentLog, systemClock } from '../../../services/kernel/kernel.js';

type GroupCommitOptions = ConstructorParameters<typeof GroupCommit>[0];

/** Over real time, if nothing else is asked for. */
export function groupCommitOver(dynamo: Dynamo, options: Partial<GroupCommitOptions> = {}): GroupCommit {
  const defaults = {
    clock: systemClock,
    log: silentLog,
    metrics: new Metrics(),
    persistDelayMs: 50,
    isHeld: () => true,
    waitMs: () => 0,
  };
  return new GroupCommit({ dynamo, reads: dynamo, ...defaults, ...options });
}

export const keyAt = (n: number): string => `m0000000001${n.toString(16).padStart(10, '0')}`;

export function messagesAt(n: number, payload: string | Buffer): Write {
  const topic = { text: 'a', bytes: Buffer.from('a') };
  const message = Message.of({ topic, payload: Buffer.from(payload), qos: 1, retain: false });
  const terms = { qos: 1, retainAsPublished: false, subscriptionIds: [] } as const;
  const stored: StoredMessage = { message, terms, qos: 1, packetId: 0, released: false, shared: undefined };
  return { kind: 'messages', key: keyAt(n), messages: [stored] };
}

export const tooLarge = (n: number): Write => messagesAt(n, Buffer.alloc(401 << 10, 'x'));

/** Has writes to be made, and fails the test when the log breaks a rule with it. */
export class Source implements CommitSource {
  readonly partition: string;
  readonly lane: string;
  /** What is to be written; `perTake` of it at a time. */
  readonly left: Write[];
  perTake = 25;
  takes = 0;
  /** How many commits with something in them are over. */
  commits = 0;
  readonly refused: Write[] = [];
  isUnderWay = false;
  readonly #log: CommitLog;
  readonly #lanes: Set<string>;

  /** `lanes`: those under way, of all sources of the test. */
  constructor(log: CommitLog, lanes: Set<string>, partition: string, left: readonly Write[], lane = partition) {
    this.#log = log;
    this.#lanes = lanes;
    this.partition = partition;
    this.lane = lane;
    this.left = [...left];
  }

  get isDone(): boolean {
    return this.left.length === 0 && !this.isUnderWay;
  }

  take(max: number): readonly Write[] {
    expect(this.isUnderWay).toBe(false);
    expect(max).toBeGreaterThan(0);
    expect(this.#lanes.has(this.lane)).toBe(false);
    this.takes++;
    const taken = this.left.splice(0, Math.min(max, this.perTake));
    if (taken.length > 0) this.#lanes.add(this.lane);
    this.isUnderWay = taken.length > 0;
    return taken;
  }

  committed(refused: readonly Write[]): void {
    this.refused.push(...refused);
    if (this.isUnderWay) this.commits++;
    if (this.isUnderWay) this.#lanes.delete(this.lane);
    this.isUnderWay = false;
    if (this.left.length > 0) this.#log.request(this);
  }
}

/** Payloads of all that is stored, in order. */
export async function payloads(log: CommitLog, partition: string): Promise<string[]> {
  const found: string[] = [];
  let after = 'm';
  for (let more = true; more;) {
    const page = await log.read(partition, after, 'n');
    for (const { messages } of page.items) found.push(...messages.map(({ message }) => message.payload.toString()));
    ({ more } = page);
    after = page.items.at(-1)?.key ?? after;
  }
  return found;
}
