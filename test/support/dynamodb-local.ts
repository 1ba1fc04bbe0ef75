/**
 * DynamoDB Local, Amazon's own emulator: in memory, in a Java process of its own, on a free port. Closer to the service
 * than dynalite (old items of failed conditions, BatchGetItem, capacity), but it takes seconds to start.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { dynamodbLocalFolder } from './dynamodb-local-package.js';
import { embeddedDynamo, type EmbeddedDynamo } from './embedded.js';
import { freePort } from './ports.js';
import { until } from './until.js';

/** A JVM on a busy machine. */
const startWithinMs = 60_000;

export async function startDynamodbLocal(): Promise<EmbeddedDynamo> {
  const folder = await dynamodbLocalFolder();
  const port = await freePort();
  const java = await startJava(folder, port);
  const endpoint = `http://127.0.0.1:${port}`;
  const killWithUs = (): void => void java.kill('SIGKILL');
  process.once('exit', killWithUs);
  const stop = async (): Promise<void> => {
    process.off('exit', killWithUs);
    if (java.exitCode !== null || java.signalCode !== null) return;
    java.kill('SIGKILL'); // In memory: there is nothing to save.
    await once(java, 'exit');
  };
  try {
    await until(() => answers(endpoint, java), 'DynamoDB Local', startWithinMs);
  } catch (error) {
    await stop();
    throw error;
  }
  return embeddedDynamo(endpoint, stop);
}

async function startJava(folder: string, port: number): Promise<ChildProcess> {
  const jvm = ['-Xmx512m', '-XX:+UseSerialGC', `-Djava.library.path=${join(folder, 'DynamoDBLocal_lib')}`];
  const server = ['-jar', 'DynamoDBLocal.jar', '-inMemory', '-sharedDb', '-disableTelemetry', '-port', String(port)];
  const java = spawn('java', [...jvm, ...server], { cwd: folder, stdio: 'ignore' });
  try {
    await once(java, 'spawn');
  } catch {
    throw new Error('DynamoDB Local needs Java 17: install openjdk-17-jre-headless, so that `java` is in the PATH');
  }
  return java;
}

/** Whether it says anything: a GET without a signature is refused, by the server itself. */
async function answers(endpoint: string, java: ChildProcess): Promise<boolean> {
  if (java.exitCode !== null)
    throw new Error(`DynamoDB Local ended with ${java.exitCode}: it needs Java 17 or later (see \`java -version\`)`);
  return await fetch(endpoint).then(
    () => true,
    () => false,
  );
}
