/** Paho JavaScript, which speaks WebSocket only, with the WebSocket of a browser: here that of `ws`. */
import { createRequire } from 'node:module';
import WebSocket from 'ws';
import { message, refused, say, serve, task } from './line.mjs';

/** In a browser the authority is in the browser's own store. */
globalThis.WebSocket = class extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols, task.isSecure ? { ca: task.ca() } : {});
  }
};
const Paho = createRequire(import.meta.url)('paho-mqtt');

const client = new Paho.Client(task.url, task.clientId);
const waiting = new Map();
client.onMessageArrived = ({ destinationName, payloadString, qos, retained }) =>
  message(destinationName, payloadString, qos, retained);
client.onMessageDelivered = (delivered) => waiting.get(delivered)?.();
client.onConnectionLost = () => undefined; // It connects again by itself.

const will = new Paho.Message(task.will.payload);
will.destinationName = task.will.topic;
will.qos = task.will.qos;
client.connect({
  userName: task.username,
  password: task.password,
  cleanSession: !task.stored,
  // Without it the library tries 3.1 after any refusal, and tells of that one instead.
  mqttVersion: task.version,
  reconnect: true,
  useSSL: task.isSecure,
  willMessage: will,
  onSuccess: () => say('connected'),
  onFailure: ({ errorMessage }) => refused(errorMessage),
});

serve({
  subscribe: (topic, qos) =>
    new Promise((resolve, reject) => client.subscribe(topic, { qos, onSuccess: resolve, onFailure: reject })),
  publish: async (topic, payload, qos, retain) => {
    const sent = new Paho.Message(payload);
    sent.destinationName = topic;
    sent.qos = qos;
    sent.retained = retain;
    await new Promise((resolve) => {
      waiting.set(sent, resolve);
      client.send(sent);
    });
    waiting.delete(sent);
  },
  end: async () => client.disconnect(),
});
