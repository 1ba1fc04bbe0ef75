/** mosquitto_sub and mosquitto_pub, as a script uses them: one process a subscription, one a publish. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { message, refused, say, serve, task } from './line.mjs';

const login = [
  ...['-h', task.host, '-p', String(task.port), '-u', task.username, '-P', task.password],
  ...['-V', { 3: 'mqttv31', 4: 'mqttv311', 5: 'mqttv5' }[task.version]],
  ...(task.isSecure ? ['--cafile', task.caFile] : []),
];

/** Rejects with what the program prints when it fails. `stdbuf` makes it print a line at once into a pipe, too. */
function run(program, args, input = '', onLine = () => undefined) {
  const child = spawn('stdbuf', ['-oL', program, ...login, ...args], { stdio: 'pipe' });
  let complaints = '';
  createInterface({ input: child.stdout }).on('line', onLine);
  child.stderr.on('data', (data) => (complaints += String(data)));
  child.stdin.on('error', () => undefined); // It has ended, and says why.
  child.stdin.end(input);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => (code === 0 ? resolve() : reject(new Error(complaints.trim()))));
  });
}

try {
  await run('mosquitto_sub', ['-t', 'nothing', '-E']);
} catch (error) {
  refused(error.message);
}
say('connected');

/** `-d` makes it say when it is subscribed. */
const subscribe = (topic, qos) =>
  new Promise((resolve, reject) => {
    const stored = ['-c', ...(task.version === 5 ? ['-x', '3600'] : [])];
    const session = ['-i', task.clientId, ...(task.stored ? stored : [])];
    const will = ['--will-topic', task.will.topic, '--will-payload', task.will.payload, '--will-qos', '1'];
    const args = [...session, ...will, '-d', '-F', '> %q %r %t %p', '-t', topic, '-q', String(qos)];
    run('mosquitto_sub', args, '', (line) => {
      if (line.startsWith('Subscribed (mid')) resolve();
      const [mark, gotQos, retain, gotTopic, payload] = line.split(' ');
      if (mark === '>') message(gotTopic, payload, gotQos, retain === '1');
    }).catch(reject);
  });

serve({
  subscribe,
  publish: (topic, payload, qos, retain) =>
    run('mosquitto_pub', ['-t', topic, '-m', payload, '-q', String(qos), ...(retain ? ['-r'] : [])]),
  burst: (topic, payloads) => run('mosquitto_pub', ['-t', topic, '-q', '1', '-l'], `${payloads.join('\n')}\n`),
  end: () => Promise.resolve(process.kill(0, 'SIGTERM')),
});
