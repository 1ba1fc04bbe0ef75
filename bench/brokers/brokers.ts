/** The brokers that can be named on the command line. */
import type { Broker } from './broker.js';
import { floor } from './floor.js';
import { forked } from './forked.js';
import { mosquitto, mosquittoNoDelay } from './mosquitto.js';
import { shoal } from './shoal.js';

/** Another checkout, in the same rounds. */
const shoalBefore: Broker = {
  unavailable: () => undefined,
  start: (options) => {
    const root = options.shoal.rootBefore;
    if (root === undefined) throw new Error('--broker-root says which checkout shoal-before is');
    return shoal.start({ ...options, shoal: { ...options.shoal, root } });
  },
};

export const brokers: Readonly<Record<string, Broker>> = {
  shoal,
  'shoal-before': shoalBefore,
  mosquitto,
  'mosquitto-nodelay': mosquittoNoDelay,
  aedes: forked('aedes-main.ts', false),
  cable: forked('cable-main.ts', true),
  floor,
};
