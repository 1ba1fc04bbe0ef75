/** AWS IoT Device SDK 1. It puts `?SDK=…` behind the user name, and asks for WebSocket with the subprotocol `mqttv3.1`. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import awsIot from 'aws-iot-device-sdk';
import { message, refused, say, serve, task } from './line.mjs';

/** The SDK does not start without a client's certificate; Shoal asks for none. */
function anyCertificate() {
  const [key, certificate] = ['key.pem', 'certificate.pem'];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  execFileSync('openssl', ['req', '-x509', ...curve, '-subj', '/CN=any', '-keyout', key, '-out', certificate], {
    stdio: 'ignore',
  });
  return { privateKey: readFileSync(key), clientCert: readFileSync(certificate), caCert: task.ca() };
}

const device = awsIot.device({
  host: task.host,
  port: task.port,
  clientId: task.clientId,
  username: task.username,
  password: task.password,
  clean: !task.stored,
  baseReconnectTimeMs: 500,
  will: task.will,
  ...(task.isWebSocket
    ? {
        protocol: 'wss',
        region: 'any',
        // It signs the URL, whatever the keys are; Shoal does not look at it.
        accessKeyId: 'any',
        secretKey: 'any',
        websocketOptions: { ca: task.ca() },
      }
    : { protocol: 'mqtts', ...anyCertificate() }),
});

device.once('connect', () => say('connected'));
device.on('error', (error) => {
  if (error.code !== 'ECONNREFUSED') refused(error.message);
});
device.on('message', (topic, payload, packet) => message(topic, payload, packet.qos, packet.retain));

const promised = (act) => new Promise((resolve, reject) => act((error) => (error ? reject(error) : resolve())));
serve({
  subscribe: (topic, qos) => promised((done) => device.subscribe(topic, { qos }, done)),
  publish: (topic, payload, qos, retain) => promised((done) => device.publish(topic, payload, { qos, retain }, done)),
  end: () => promised((done) => device.end(false, done)),
});
