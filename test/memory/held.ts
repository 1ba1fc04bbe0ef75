/**
 * Fills what can grow in a broker with thousands of items, and prints for each what its limit counts and what the process
 * holds. Run by `held.long.test.ts` with --expose-gc.
 */
import { CachedAccounts } from '../../services/broker/admission/accounts.js';
import { RememberedPasswords } from '../../services/broker/admission/remembered-passwords.js';
import type { StoredMessage } from '../../services/broker/inbox/inbox.js';
import { deliveryBytes, Message, type QoS, topicName } from '../../services/broker/message/message.js';
import { itemOf, messagesFromItem } from '../../services/broker/store/inbox-item.js';
import type { Flusher } from '../../services/broker/outbox/flusher.js';
import type { OutboxStream } from '../../services/broker/outbox/ports.js';
import { SendQueue } from '../../services/broker/outbox/send-queue.js';
import { PacketReader, type ProtocolVersion, Slab, TopicTable } from '../../services/broker/wire/wire.js';
import type { Item } from '../../services/dynamo/dynamo.js';
import { systemClock, type TenantScope } from '../../services/kernel/kernel.js';
import { type Credential, hashSecret } from '../../services/tenancy/tenancy.js';
import { connect, FakeHost, terms } from '../unit/session/world.js';
import { encode } from '../fuzz/packets.js';
import { bustle, type Held, measure } from './measure.js';
import { tenants } from './tenants.js';

const nowMs = 1_800_000_000_000;

/** Counts as a tenant does. */
class CountingHost extends FakeHost {
  counted = 0;
  override limits = { subscriptionsPerSession: 100, subscriptions: Infinity, queuedMessagesPerSession: 1_000_000 };
  override hold(message?: Message): boolean {
    this.counted += message!.holders++ === 0 ? message!.heldBytes : deliveryBytes;
    return true;
  }
  override letGo(message?: Message): void {
    this.counted -= --message!.holders === 0 ? message!.heldBytes : deliveryBytes;
  }
}

interface Shape {
  readonly payload: number;
  readonly topics: 'one' | 'many';
  readonly version: ProtocolVersion;
  readonly properties?: object;
}

/** Messages that came in by the wire and wait for a client that does not acknowledge. */
function waiting({ payload, topics: which, version, properties }: Shape, messages: number) {
  const host = new CountingHost();
  const { session } = connect({ host, version, receiveMaximum: 1 });
  const topics = new TopicTable();
  const wanted = terms(1);
  const reader = new PacketReader(
    topics,
    {
      onPublish: ({ message }) => session.deliver(message, wanted, nowMs),
      onAck: () => {},
      onPacket: () => {},
    },
    1 << 20,
  );
  reader.version = version;
  for (let i = 0; i < messages; i++) {
    const topic = which === 'one' ? 'a/topic' : `devices/${i}/temperature`;
    const packet = { cmd: 'publish' as const, topic, payload: Buffer.alloc(payload, 1), qos: 1 as QoS, messageId: 1 };
    reader.read(encode({ ...packet, dup: false, retain: false, ...(properties && { properties }) }, version), nowMs);
    bustle();
  }
  return { counted: host.counted, kept: { host, session, topics } };
}

const shapes: readonly Shape[] = [
  { payload: 0, topics: 'one', version: 4 },
  { payload: 20, topics: 'one', version: 4 },
  { payload: 20, topics: 'many', version: 4 },
  { payload: 64, topics: 'one', version: 5, properties: { contentType: 'text/plain' } },
  { payload: 200, topics: 'one', version: 4 },
  { payload: 200, topics: 'many', version: 5, properties: { userProperties: { a: 'x'.repeat(100) } } },
  { payload: 2000, topics: 'one', version: 4 },
  { payload: 6000, topics: 'one', version: 4 },
];

/** One message that waits for many: the message once, a delivery each. */
function fannedOut(sessions: number, messages: number) {
  const host = new CountingHost();
  const all = Array.from(
    { length: sessions },
    (_, i) => connect({ host, version: 4, receiveMaximum: 1, clientId: `c${i}` }).session,
  );
  return () => {
    const volatile = Message.volatile();
    volatile.qos = 1;
    volatile.source = Buffer.alloc(100);
    volatile.payloadEnd = 100;
    const wanted = terms(1);
    for (let i = 0; i < messages; i++) {
      volatile.renew();
      for (const session of all) session.deliver(volatile, wanted, nowMs);
    }
    return { counted: host.counted, kept: all };
  };
}

/** Names of topics that nobody uses any more, in a full table: its bound says 14 MB. */
function topicNames(bytes: number) {
  const topics = new TopicTable();
  for (let i = 0; i < 100_000; i++) {
    const name = Buffer.from(`${i}/`.padEnd(bytes, 'x'));
    topics.lookup(name, 0, name.length);
    if (i % 5 === 0) bustle();
  }
  return { counted: 16_384 * (2 * bytes + 300), kept: topics };
}

/** Small packets for a client that has stopped reading, one a turn, with blocks that others write to. */
function unread(packetBytes: number) {
  const written: object[] = [];
  const stream = {
    unsentBytes: 0,
    write(bytes: Buffer) {
      written.push({ chunk: bytes, encoding: 'buffer', callback: undefined }); // As a stream does.
      stream.unsentBytes += bytes.length;
    },
  };
  const dirty: SendQueue[] = [];
  const queue = new SendQueue(
    stream as unknown as OutboxStream,
    { add: () => dirty.push(queue) } as unknown as Flusher,
  );
  const slab = new Slab();
  while (queue.waitingBytes < 2 << 20) {
    slab.reserve(packetBytes);
    queue.push(slab.bytes, slab.at, (slab.at += packetBytes));
    slab.reserve(3000);
    slab.at += 3000; // For somebody else.
    dirty.splice(0).forEach((each) => each.flush('all'));
    bustle();
  }
  return { counted: queue.waitingBytes, kept: written };
}

/** Credentials that clients have connected with. Objects of their own, as they come out of the database. */
async function credentials(count: number, grants: number) {
  const source = {
    tenant: () => Promise.resolve(undefined),
    credential: (scope: TenantScope, name: string): Promise<Credential> => {
      const all = Array.from({ length: grants }, (_, i) => ({
        effect: 'allow' as const,
        action: 'all' as const,
        topic: Buffer.from(`${name}/${i}/`.padEnd(600, 'x')).toString(),
      }));
      const secretHash = Buffer.from(`sha256$${name}`.padEnd(50, 'h')).toString() as Credential['secretHash'];
      return Promise.resolve({
        scope,
        name,
        secretHash,
        createdAtMs: 1.8e12,
        revision: 1,
        ...(grants && { grants: all }),
      });
    },
  };
  const accounts = new CachedAccounts(source, systemClock);
  for (let i = 0; i < count; i++) await accounts.credential('acme' as TenantScope, `device-${i}`);
  return { counted: accounts.bytes, kept: accounts };
}

async function passwords(count: number) {
  const remembered = new RememberedPasswords(systemClock);
  for (let i = 0; i < count; i++) {
    const secretHash = await hashSecret(`password ${i}`, 'generated');
    remembered.remember(remembered.markOf(Buffer.from(`password ${i}`), secretHash), true);
  }
  if (remembered.size !== count) throw new Error('they are all kept');
  return { counted: count * 110, kept: remembered };
}

/** One message of each stored item, the others of which have been acknowledged. */
function read(items: number) {
  const messages = Array.from({ length: items }, (_, i) => {
    const stored = Array.from({ length: 100 }, (_unused, n) => ({
      message: Message.of({ topic: topicName(`devices/${n}`), payload: Buffer.alloc(200), qos: 1, retain: false }),
      ...{ terms: terms(1), qos: 1 as const, packetId: 0, released: false, sent: false, shared: undefined },
    }));
    const write = { kind: 'messages' as const, key: `m${i}`, messages: stored as unknown as StoredMessage[] };
    const item = itemOf('acme#c', write) as { put: Item };
    return messagesFromItem(item.put)[50]!.message;
  });
  return { counted: messages.reduce((sum, { heldBytes }) => sum + heldBytes, 0), kept: messages };
}

const all: Held[] = [];
await measure('warm-up', () => waiting({ payload: 100, topics: 'one', version: 5 }, 5000));
for (const shape of shapes)
  all.push(await measure(`waiting ${JSON.stringify(shape)}`, () => waiting(shape, shape.payload > 1000 ? 1000 : 5000)));
all.push(await measure('one message for 100', fannedOut(100, 200)));
for (const bytes of [30, 250]) all.push(await measure(`topic names of ${bytes} bytes`, () => topicNames(bytes)));
for (const bytes of [4, 50, 1000]) all.push(await measure(`unread packets of ${bytes} bytes`, () => unread(bytes)));
all.push(await measure('credentials', () => credentials(20_000, 0)));
all.push(await measure('credentials with long grants', () => credentials(1000, 100)));
all.push(await measure('verified passwords', () => passwords(20_000)));
all.push(await measure('messages of stored items', () => read(1000)));
for (const [name, fill] of Object.entries(tenants)) all.push(await measure(name, fill));
process.stdout.write(JSON.stringify(all));
