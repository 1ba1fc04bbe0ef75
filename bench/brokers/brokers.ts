/** The brokers that can be named on the command line. */
import type { Broker } from './broker.js';
import { forked } from './forked.js';
import { mosquitto, mosquittoNoDelay } from './mosquitto.js';
import { shoal } from './shoal.js';

export const brokers: Readonly<Record<string, Broker>> = {
  shoal,
  mosquitto,
  'mosquitto-nodelay': mosquittoNoDelay,
  aedes: forked('aedes-main.ts', false),
  cable: forked('cable-main.ts', true),
};
