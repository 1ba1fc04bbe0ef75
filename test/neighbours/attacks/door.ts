/** Attacks on the way in: CONNECTs, passwords and wills. */
import { connectBytes } from '../../support/packet-bytes.js';
import { knock } from '../foe.js';
import { every, many } from '../pace.js';
import { credentialWith, type Attack } from '../scene.js';

/** 100 wrong passwords a second against a password that a person chose. Who guesses does not wait for long. */
export const wrongPasswords: Attack = async (scene) => {
  const account = await credentialWith(scene, 'chosen', { password: 'correct horse battery' });
  return () =>
    every(100, (n) => {
      const wrong = connectBytes({ clientId: `w${n}`, username: account!.username, password: `wrong horse ${n}` });
      void knock(scene, wrong, 2000);
    });
};

/** 4096 CONNECTs of one client id at once, topped up with 100 a second. */
export const oneClientId: Attack = (scene) => {
  const connect = connectBytes({ clientId: 'everybody', clean: false, ...expiry, ...scene.credential });
  const patienceMs = 60_000;
  return Promise.resolve(() => {
    for (let n = 0; n < 4096 * scene.scale; n++) void knock(scene, connect, patienceMs, true);
    every(100, () => void knock(scene, connect, patienceMs, true));
  });
};

const expiry = { properties: { sessionExpiryInterval: 3600 } };

/** CONNECT with a will of 60 KB, again and again, each time gone as soon as it is in. */
export const wills: Attack = (scene) => {
  const atOnce = 20;
  const will = { topic: 'last/words', payload: Buffer.alloc(60_000, 0x78), qos: 1 };
  const connects = Array.from({ length: atOnce }, (_, n) =>
    connectBytes({ clientId: `will${n}`, clean: false, ...expiry, will, ...scene.credential }),
  );
  return Promise.resolve(() => {
    void many(Infinity, atOnce, Infinity, (n) => knock(scene, connects[n % atOnce]!, 2000));
  });
};
