/** Node-RED, without its editor: a flow with the nodes `mqtt in` and `mqtt out`, and function nodes towards this program. */
import { createServer } from 'node:http';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import RED from 'node-red';
import { message, refused, say, serve, task } from './line.mjs';

/** What the function nodes call. */
const bridge = {
  orders: new Map(),
  got: ({ topic, payload, qos, retain }) => message(topic, payload, qos, retain),
  done: (id) => bridge.orders.get(id)?.resolve(),
};

const tls = { id: 'tls', type: 'tls-config', cert: '', key: '', ca: task.caFile, verifyservercert: true };
const broker = {
  id: 'broker',
  type: 'mqtt-broker',
  broker: task.isWebSocket ? task.url : task.host,
  port: String(task.port),
  tls: task.isSecure ? 'tls' : '',
  usetls: task.isSecure,
  clientid: task.clientId,
  autoConnect: true,
  protocolVersion: String(task.version),
  keepalive: '60',
  cleansession: !task.stored,
  ...(task.version === 5 && task.stored && { sessionExpiry: '3600' }),
  willTopic: task.will.topic,
  willPayload: task.will.payload,
  willQos: '1',
  willRetain: 'false',
};
const node = (id, type, more) => ({ id, type, z: 'tab', x: 0, y: 0, wires: [], ...more });
const flow = [
  ...(task.isSecure ? [tls] : []),
  broker,
  { id: 'tab', type: 'tab', label: 'client' },
  // Without a topic of its own it is told by messages what to subscribe to.
  node('in', 'mqtt in', { broker: 'broker', topic: '', inputs: 1, datatype: 'utf8', wires: [['got']] }),
  node('got', 'function', { func: "global.get('bridge').got(msg);" }),
  node('orders', 'function', {
    outputs: 2,
    initialize:
      "const bridge = global.get('bridge'); bridge.subscribe = (m) => node.send([m, null]); bridge.publish = (m) => node.send([null, m]);",
    func: '',
    wires: [['in'], ['out']],
  }),
  node('out', 'mqtt out', { broker: 'broker' }),
  node('complete', 'complete', { scope: ['in', 'out'], wires: [['done']] }),
  node('done', 'function', { func: "global.get('bridge').done(msg.order);" }),
  node('status', 'status', { scope: ['in'], wires: [['stated']] }),
  node('stated', 'function', { func: "global.get('bridge').stated(msg.status.text);" }),
];

const connected = new Promise((resolve) => {
  bridge.stated = (text) => {
    if (text !== 'node-red:common.status.connected') return;
    resolve();
    // What comes to `mqtt out` between a lost connection and the next one is dropped, and never completed.
    for (const { again } of bridge.orders.values()) again();
  };
});
let isIn = false;
const log = ({ msg }) => {
  if (!isIn && String(msg).includes('onnection failed')) refused(msg);
};

const userDir = process.cwd();
writeFileSync(join(userDir, 'flow.json'), JSON.stringify(flow));
const credentials = { broker: { user: task.username, password: task.password } };
writeFileSync(join(userDir, 'flow_cred.json'), JSON.stringify(credentials));
RED.init(createServer(), {
  userDir,
  httpAdminRoot: false,
  httpNodeRoot: false,
  mqttReconnectTime: 500,
  functionGlobalContext: { bridge },
  flowFile: 'flow.json',
  credentialSecret: false,
  editorTheme: { tours: false },
  logging: { console: { level: 'off' }, here: { level: 'debug', handler: () => log } },
});
await RED.start();
await connected;
isIn = true;
say('connected');

let orders = 0;
const order = (give, fields) => {
  const id = ++orders;
  const again = () => give({ ...fields, order: id });
  return new Promise((resolve) => {
    bridge.orders.set(id, { resolve, again });
    again();
  }).finally(() => bridge.orders.delete(id));
};
serve({
  subscribe: (topic, qos) => order(bridge.subscribe, { action: 'subscribe', topic: { topic, qos } }),
  publish: (topic, payload, qos, retain) => order(bridge.publish, { topic, payload, qos, retain }),
  end: () => RED.stop(),
});
