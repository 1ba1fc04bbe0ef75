/** The log port. Fields first, then one plain sentence; secrets and payloads never go in. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** What SonicBoom, which pino writes with, has of use here. */
interface LineOutput {
  flushSync(): void;
  on(event: 'error' | 'write', listener: () => void): unknown;
}

/** Lines that wait for a slow or full disk; more are dropped. */
export const logBytesMax = 1 << 20;

/**
 * A log that cannot be written (its disk is full, its terminal or reader has gone) is no reason to end, and goes on when
 * it can be written again. SonicBoom itself would throw, and at the exit of the process try for ever.
 */
export function forgiving<Output extends LineOutput>(output: Output): Output {
  let failing = false;
  output.on('error', () => (failing = true));
  output.on('write', () => (failing = false));
  const flushSync = output.flushSync.bind(output);
  output.flushSync = () => {
    if (!failing) flushSync();
  };
  return output;
}
