/**
 * The process of one broker. Started as a task, or as a child with an IPC channel: then it reports when it is ready,
 * and stops when the channel closes, so that it never outlives its parent.
 */
import { oncePerCause } from '../dynamo/dynamo.js';
import { systemClock } from '../kernel/kernel.js';
import { type Broker, newBrokerId, startBroker } from './compose.js';
import { readConfig } from './config.js';
import { makeLog } from './ops/ops.js';

/** A stop that hangs (DynamoDB away) does not keep the process for ever: beside the drain it has this long. */
const stopTimeoutMs = 15_000;

async function main(): Promise<void> {
  // The SDK's advice to move to a newer Node.js is for those who build Shoal, not for those who read its log.
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
  const isChild = process.send !== undefined;
  let broker: Broker | undefined;
  let drainMsMax = 0;
  let stopRequested = false;
  const aborting = new AbortController();
  const stop = (): void => {
    if (stopRequested) {
      // Whoever asks twice does not want to wait; nothing that was promised is only in memory. A child may be asked by its
      // parent and as one of its process group, and its parent kills it when it has to.
      if (!isChild) process.exit(1);
      return;
    }
    stopRequested = true;
    setTimeout(() => process.exit(1), drainMsMax + stopTimeoutMs).unref();
    if (!broker) return aborting.abort(); // `startBroker` rejects when it has cleaned up.
    broker.stop(drainMsMax).then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`broker: stopping failed: ${messageOf(error)}\n`);
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', stop);
  for (const signal of ['SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (!isChild) stop(); // Ctrl-C and a closed terminal reach the whole process group; the parent decides.
    });
  }
  process.on('disconnect', stop);
  try {
    const config = readConfig(process.env);
    drainMsMax = config.drainMsMax;
    const brokerId = newBrokerId();
    const log = oncePerCause(makeLog(config.logLevel, { broker: brokerId }));
    // A fault of ours on some timer must not end the connections of every tenant.
    process.on('uncaughtException', (error) => log.error({ error }, 'a fault of the broker outside any connection'));
    broker = await startBroker(config, brokerId, systemClock, log, { stopping: aborting.signal, onLost });
    process.send?.({ type: 'ready', ports: broker.ports });
  } catch (error) {
    if (stopRequested) process.exit(0);
    const message = messageOf(error);
    process.stderr.write(`broker: ${message}\n`);
    process.send?.({ type: 'failed', message });
    process.exit(1);
  }
}

/** Not another byte to any client: another broker serves them now, and may have told them something else. */
function onLost(): never {
  process.stderr.write('broker: its lease has run out and another broker has taken over; exiting\n');
  process.exit(1);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

await main();
