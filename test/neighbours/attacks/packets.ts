/** Attacks with packets that no message rate counts. */
import { bytes, publishBytes, subscribeBytes } from '../../support/packet-bytes.js';
import { Foe } from '../foe.js';
import { atMost, every, many } from '../pace.js';
import type { Attack } from '../scene.js';

const floodBytes = 64 * 1024;
const connack = 2;

function repeated(packet: Buffer): Buffer {
  return Buffer.concat(Array.from({ length: Math.ceil(floodBytes / packet.length) }, () => packet));
}

/** PINGREQ as fast as the socket takes it, on four connections. */
export const pings: Attack = (scene) => {
  const flood = repeated(Buffer.from([0xc0, 0]));
  return Promise.resolve(() => {
    for (let n = 0; n < 4; n++) new Foe(scene, { clientId: `ping${n}` }).flood(() => flood);
  });
};

/** SUBSCRIBE and UNSUBSCRIBE of one filter as fast as the socket takes them. */
export const subscribes: Attack = (scene) => {
  const subscribe = subscribeBytes([{ filter: 'flip/flop', qos: 0 }], 5, 1);
  const unsubscribe = bytes.packet('unsubscribe', 2, bytes.u16(2), bytes.properties(), bytes.utf8('flip/flop'));
  const flood = repeated(Buffer.concat([subscribe, unsubscribe]));
  return Promise.resolve(() => new Foe(scene, { clientId: 'flipflop' }).flood(() => flood));
};

/** A PUBACK for nothing, with so many empty user properties. */
function puback(properties: number): Buffer {
  const emptyUserProperty = Buffer.from([0x26, 0, 0, 0, 0]);
  const all = Buffer.concat(Array.from({ length: properties }, () => emptyUserProperty));
  return bytes.packet('puback', 0, bytes.u16(1), bytes.u8(0), bytes.varint(all.length), all);
}

/** PUBACKs of 200 KB with 40 000 properties, and such with as many as may be expected to be allowed. */
export const manyProperties: Attack = (scene) => {
  const [large, allowed] = [puback(40_000), repeated(puback(1000))];
  return Promise.resolve(() => {
    for (let n = 0; n < 4; n++) {
      new Foe(scene, { clientId: `large${n}` }).flood(() => large);
      new Foe(scene, { clientId: `allowed${n}` }).flood(() => allowed);
    }
  });
};

/** One publisher as fast as it can, and a thousand connections that are over the tenant's rate with it. */
export const pausedPublishers: Attack = async (scene) => {
  const publish = publishBytes({ topic: 'over/the/rate', payload: 'x' }, 5);
  const few = Buffer.concat(Array.from({ length: 10 }, () => publish));
  const foes: Foe[] = [];
  await many(Math.ceil(995 * scene.scale), 50, 30_000, async (n) => {
    const foe = new Foe(scene, { clientId: `p${n}` });
    foes.push(foe);
    await atMost(2000, foe.hears(connack));
    foe.ignore();
  });
  const fast = repeated(publish);
  return () => {
    new Foe(scene, { clientId: 'fast' }).flood(() => fast);
    every(5 * foes.length, (n) => foes[n % foes.length]!.write(few));
  };
};
