/** Starts a broker that is one of our own small programs: it says its port over IPC when it listens. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { host, watch, type Broker } from './broker.js';

export function forked(program: string, mqtt5: boolean, env: Record<string, string> = {}): Broker {
  return {
    unavailable: ({ version }) => (version === 5 && !mqtt5 ? 'does not speak MQTT 5' : undefined),
    start: async ({ version }) => {
      const path = fileURLToPath(new URL(program, import.meta.url));
      const child = fork(path, {
        execArgv: ['--import', 'tsx'],
        stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
        env: { ...process.env, ...env },
      });
      const watched = watch(child);
      const port = await new Promise<number>((resolve, reject) => {
        child.once('message', (message) => resolve((message as { port: number }).port));
        child.once('exit', () => reject(new Error(watched.died())));
      });
      child.disconnect();
      return { target: { host, port, version }, pid: child.pid!, ...watched };
    },
  };
}
