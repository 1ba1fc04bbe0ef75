/** MQTT.js; the argument says which: `mqtt2`, `mqtt4` or `mqtt5`. */
import { message, refused, say, serve, task } from './line.mjs';

const { default: mqtt } = await import(process.argv[2]);

const client = mqtt.connect(task.url, {
  username: task.username,
  password: task.password,
  clientId: task.clientId,
  clean: !task.stored,
  protocolVersion: task.version,
  protocolId: task.version === 3 ? 'MQIsdp' : 'MQTT',
  ...(task.version === 5 && task.stored && { properties: { sessionExpiryInterval: 3600 } }),
  ...(task.isSecure && { ca: task.ca() }),
  reconnectPeriod: 500,
  will: task.will,
});

client.once('connect', () => say('connected'));
client.on('error', (error) => {
  if (error.code !== 'ECONNREFUSED') refused(error.message);
});
client.on('message', (topic, payload, { qos, retain }) => message(topic, payload, qos, retain));

const promised = (act) =>
  new Promise((resolve, reject) => act((error, result) => (error ? reject(error) : resolve(result))));
serve({
  subscribe: (topic, qos) => promised((done) => client.subscribe(topic, { qos }, done)),
  publish: (topic, payload, qos, retain) => promised((done) => client.publish(topic, payload, { qos, retain }, done)),
  end: () => promised((done) => client.end(false, done)),
});
