/** A Sparkplug edge node: its birth is published when it is in, its death is its will. Runs until it is killed. */
import { createRequire } from 'node:module';
import { task } from './line.mjs';

const { newClient } = createRequire(import.meta.url)('sparkplug-client');

const node = newClient({
  serverUrl: task.url,
  username: task.username,
  password: task.password,
  groupId: 'plant',
  edgeNode: 'press',
  clientId: task.clientId,
  version: 'spBv1.0',
  publishDeath: true,
  mqttOptions: { ca: task.ca() },
});
node.on('birth', () =>
  node.publishNodeBirth({ timestamp: Date.now(), metrics: [{ name: 'pressure', type: 'int', value: 7 }] }),
);
