/** Attacks on what is stored: sessions that are away, retained messages, and the database behind them. */
import { bytes, connectBytes, publishBytes, subscribeBytes } from '../../support/packet-bytes.js';
import { Foe, knock } from '../foe.js';
import { atMost, every, many } from '../pace.js';
import type { Attack, Scene } from '../scene.js';

const prepareMs = 60_000;
const puback = 4;
const everybody = 'to/everybody';

/** Sessions that have subscribed to the topic of all, and to one of their own, and left. */
async function leaveSessions(scene: Scene, count: number): Promise<void> {
  const disconnect = bytes.packet('disconnect', 0);
  await many(count, 50, prepareMs, (n) => {
    const fields = { clientId: `away${n}`, clean: false, properties: { sessionExpiryInterval: 3600 } };
    const connect = connectBytes({ ...fields, ...scene.credential });
    const subscribe = subscribeBytes(
      [everybody, `to/${n}`].map((filter) => ({ filter, qos: 1 })),
      5,
      1,
    );
    return knock(scene, Buffer.concat([connect, subscribe, disconnect]), prepareMs, true);
  });
}

const publish = (n: number, payload: Buffer, topic = everybody): Buffer =>
  publishBytes({ topic, payload, qos: 1, packetId: 1 + (n % 60_000) }, 5);

/** 200 messages at once to 10 000 stored sessions that are away, and ten more every second. */
export const fanOutToStored: Attack = async (scene) => {
  // Of 10 000 that a tenant may have: whoever looks whether its quotas have changed needs one, too.
  await leaveSessions(scene, Math.ceil(9900 * scene.scale));
  const payload = Buffer.alloc(64);
  return () => {
    const foe = new Foe(scene, { clientId: 'publisher' });
    foe.ignore();
    for (let n = 0; n < 200; n++) foe.write(publish(n, payload));
    every(10, (n) => foe.write(publish(200 + n, payload)));
  };
};

/** Ten messages of 1 KB a second to 200 stored sessions that are away: each costs more than 200 write units. */
export const storedTrickle: Attack = async (scene) => {
  await leaveSessions(scene, 200);
  const payload = Buffer.alloc(1000);
  return () => {
    const foe = new Foe(scene, { clientId: 'publisher' });
    foe.ignore();
    every(10, (n) => foe.write(publish(n, payload)));
  };
};

/** Stored sessions, each of which the database throttles (see `throttle.mjs`); to each at another time, so that they share no call. */
export const throttledSessions: Attack = async (scene) => {
  const sessions = 24;
  await leaveSessions(scene, sessions);
  const payload = Buffer.alloc(1000);
  return () => {
    const foe = new Foe(scene, { clientId: 'publisher' });
    foe.ignore();
    every(100, (n) => foe.write(publish(n, payload, `to/${n % sessions}`)));
  };
};

/** Retained messages of 9 KB, stored before this returns. */
async function retain(scene: Scene, count: number): Promise<void> {
  const foe = new Foe(scene, { clientId: 'retainer' });
  const payload = Buffer.alloc(9000, 0x78);
  for (let n = 0; n < count; n++) {
    foe.write(publishBytes({ topic: `kept/${n}/state`, payload, qos: 1, packetId: 1 + n, retain: true }, 5));
    await atMost(5000, foe.hears(puback));
  }
}

/** SUBSCRIBE `#` 1500 times on a connection that does not read, over a thousand retained messages; again on another one. */
export const unreadReplays: Attack = async (scene) => {
  await retain(scene, Math.ceil(1000 * scene.scale));
  const subscribe = subscribeBytes([{ filter: '#', qos: 0 }], 5, 1);
  const all = Buffer.concat(Array.from({ length: 1500 }, () => subscribe));
  let connections = 0;
  const attack = (): void => void new Foe(scene, { clientId: `unread${connections++}`, opening: [all], reads: false });
  return () => {
    attack();
    every(0.3, () => connections < 20 && attack());
  };
};

/** 50 clients that subscribe to 5 wildcards each over 500 retained messages and do not read, every two seconds. */
export const unreadWildcards: Attack = async (scene) => {
  await retain(scene, Math.ceil(500 * scene.scale));
  const wildcards = ['#', 'kept/#', 'kept/+/state', '+/#', '+/+/state'];
  const opening = [
    subscribeBytes(
      wildcards.map((filter) => ({ filter, qos: 0 })),
      5,
      1,
    ),
  ];
  return () => {
    const foes = Array.from({ length: 50 }, (_, n) => new Foe(scene, { clientId: `wild${n}`, opening, reads: false }));
    every(foes.length / 2, (n) => foes[n % foes.length]!.again());
  };
};

/** A thousand subscribers of `#`, and topics of which each is new. */
export const plans: Attack = async (scene) => {
  const opening = [subscribeBytes([{ filter: '#', qos: 0 }], 5, 1)];
  const suback = 9;
  await many(Math.ceil(995 * scene.scale), 50, 30_000, async (n) => {
    const foe = new Foe(scene, { clientId: `all${n}`, opening });
    await atMost(2000, foe.hears(suback));
    foe.ignore();
  });
  return () => {
    const foe = new Foe(scene, { clientId: 'publisher' });
    foe.ignore();
    every(1000, (n) => foe.write(publishBytes({ topic: `new/${n}`, payload: 'x' }, 5)));
  };
};
