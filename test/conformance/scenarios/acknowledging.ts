/** Acknowledgements that do not fit the message: each ends the connection, and the message is still there. */
import type { PacketClient } from '../../support/packet-client.js';
import type { Trial } from '../trial.js';

type Cmd = 'puback' | 'pubrec' | 'pubcomp';

interface Wrong {
  readonly qos: 1 | 2;
  /** What the client answers first, as it should. */
  readonly first?: 'pubrec';
  readonly then: Cmd;
  readonly reasonCode?: number;
}

const wrong: readonly Wrong[] = [
  { qos: 1, then: 'pubrec' },
  { qos: 1, then: 'pubrec', reasonCode: 0x80 },
  { qos: 1, then: 'pubcomp' },
  { qos: 2, then: 'puback' },
  { qos: 2, then: 'pubcomp' },
  { qos: 2, first: 'pubrec', then: 'puback' },
];

/** For sessions that are stored, or that end with the connection. */
export async function wrongKind(t: Trial, isStored: boolean): Promise<void> {
  for (const [i, { qos, first, then, reasonCode }] of wrong.entries()) {
    if (reasonCode !== undefined && !t.v5) continue;
    const topic = t.topic(`${i}`);
    const connect = (): Promise<PacketClient> => (isStored ? t.persistent(`s${i}`) : t.connect());
    const s = await connect();
    await s.subscribe({ filter: topic, qos });
    await (await t.connect()).publish({ topic, payload: 'x', qos });
    const { packetId } = await s.expect('publish', { payload: 'x', qos });
    if (first) {
      s.sendAck(first, packetId!);
      await s.expect('pubrel', { packetId: packetId! });
    }
    s.sendAck(then, packetId!, reasonCode);
    await s.expectClosed(t.v5 ? 0x82 : undefined);
    if (!isStored) continue;
    const again = await connect();
    if (first) await again.expect('pubrel', { packetId: packetId! });
    else await again.expect('publish', { payload: 'x', dup: true });
  }
}

/** A packet that only a server sends. */
export async function packetsOfServers(t: Trial): Promise<void> {
  for (const packet of ['2003000000', '9003000100', 'b0020001', 'd000']) await t.refuses([0x81, 0x82], packet);
}
