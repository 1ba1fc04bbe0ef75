import { expect, test } from 'vitest';
import { nearestName } from '../../../services/kernel/kernel.js';

const names = ['SHOAL_MQTT_PORT', 'SHOAL_MQTTS_PORT', 'SHOAL_WS_PORT'];

test.each([
  ['SHOAL_MQTT_PROT', 'SHOAL_MQTT_PORT'],
  ['SHOAL_MQTSS_PORT', 'SHOAL_MQTTS_PORT'],
  ['SHOAL_WSPORT', 'SHOAL_WS_PORT'],
  ['SHOAL_MQTT_PORT', 'SHOAL_MQTT_PORT'],
  ['', undefined],
  ['COMPLETELY_DIFFERENT', undefined],
])('%s: %s', (written, meant) => expect(nearestName(written, names)).toBe(meant));
