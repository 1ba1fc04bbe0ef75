/**
 * The process of one broker. Started as a task, or as a child with an IPC channel: then it reports when it is ready,
 * and stops when the channel closes, so that it never outlives its parent.
 *
 * A fault that nobody has caught ends it: a step was left half done, and nobody knows what of the state is still true. A
 * broker that dies costs seconds, for what it has acknowledged is stored and the next one takes over; one that goes on with a
 * wrong state costs messages. Whoever started the process starts it again.
 */
import { oncePerCause } from '../dynamo/dynamo.js';
import { caught, systemClock } from '../kernel/kernel.js';
import { type Broker, newBrokerId, startBroker } from './compose.js';
import { readConfig } from './config.js';
import { makeLog } from './ops/ops.js';
import { withTaskAddress } from './task-address.js';

/** A stop that hangs (DynamoDB away) does not keep the process for ever: beside the drain it has this long. */
const stopTimeoutMs = 15_000;
/** After a fault: clients are told and what waits is stored as far as that is quick. */
const faultDrainMsMax = 2000;
const faultStopTimeoutMs = 8000;

async function main(): Promise<void> {
  // The SDK's advice to move to a newer Node.js is for those who build Shoal, not for those who read its log.
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
  const isChild = process.send !== undefined;
  let broker: Broker | undefined;
  let drainMsMax = 0;
  let stopRequested = false;
  let isFaulty = false;
  /** Ended by the operator, who is not whoever runs the process: a first signal after that is no second one. */
  let isDraining = false;
  const aborting = new AbortController();
  const stop = (): void => {
    if (isDraining) {
      isDraining = false;
      return;
    }
    if (stopRequested) {
      // Whoever asks twice does not want to wait; nothing that was promised is only in memory. A child may be asked by its
      // parent and as one of its process group, and its parent kills it when it has to.
      if (!isChild) process.exit(1);
      return;
    }
    end(drainMsMax, stopTimeoutMs);
  };
  const end = (drainMs: number, timeoutMs: number): void => {
    stopRequested = true;
    setTimeout(() => process.exit(1), drainMs + timeoutMs).unref();
    if (!broker) return aborting.abort(); // `startBroker` rejects when it has cleaned up.
    broker.stop(drainMs).then(
      () => process.exit(isFaulty ? 1 : 0),
      (error: unknown) => {
        process.stderr.write(`broker: stopping failed: ${messageOf(error)}\n`);
        process.exit(1);
      },
    );
  };
  const onDrain = (): void => {
    if (stopRequested) return;
    isDraining = true;
    end(drainMsMax, stopTimeoutMs);
  };
  process.on('SIGTERM', stop);
  for (const signal of ['SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (!isChild) stop(); // Ctrl-C and a closed terminal reach the whole process group; the parent decides.
    });
  }
  process.on('disconnect', stop);
  // Whoever read what is printed has gone: no fault of the broker, which goes on without.
  for (const output of [process.stdout, process.stderr]) output.on('error', () => undefined);
  process.on('uncaughtException', (error, origin) => {
    process.stderr.write(`broker: ${origin}, unexpected; stopping: ${error?.stack ?? messageOf(error)}\n`);
    if (isFaulty) return; // On its way out, by one of the two timers at the latest.
    isFaulty = true;
    if (broker) caught('process', error, { origin });
    if (stopRequested) setTimeout(() => process.exit(1), faultStopTimeoutMs).unref();
    else end(Math.min(drainMsMax, faultDrainMsMax), faultStopTimeoutMs);
  });
  try {
    const config = await withTaskAddress(readConfig(process.env));
    drainMsMax = config.drainMsMax;
    const brokerId = newBrokerId();
    process.send?.({ type: 'member', brokerId }); // Whoever started it may give its lease up when it is gone.
    const log = oncePerCause(makeLog(config.logLevel, { broker: brokerId }));
    const onStandingBy = (health: number): void => void process.send?.({ type: 'standing-by', health });
    const world = { stopping: aborting.signal, onLost, onDrain, onStandingBy };
    broker = await startBroker(config, brokerId, systemClock, log, world);
    process.send?.({ type: 'ready', ports: broker.ports });
  } catch (error) {
    if (stopRequested) process.exit(isFaulty ? 1 : 0);
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
