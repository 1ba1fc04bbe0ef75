/**
 * What zigbee2mqtt is to a broker: its own settings, logger, event bus and MQTT class, without the radio. Its configuration
 * is in ZIGBEE2MQTT_DATA. What it hands to its extensions it publishes to zigbee2mqtt/heard. Runs until it is killed.
 */
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const part = (name) => require(`zigbee2mqtt/dist/${name}.js`).default;

part('util/logger').init();
const eventBus = new (part('eventBus'))();
const mqtt = new (part('mqtt'))(eventBus);
eventBus.onMQTTMessage('test', ({ topic, message }) => mqtt.publish('heard', `${topic} ${message}`));
await mqtt.connect();
await mqtt.publish('bridge/info', '{}', { clientOptions: { retain: true } });
