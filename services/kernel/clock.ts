/**
 * Time as an argument. Rooms that need time get a `Clock`; only `main` and tests choose which.
 */
export interface Clock {
  /** Milliseconds since the epoch: for what is stored or told to others. May jump. */
  nowMs(): number;
  /** Milliseconds from an arbitrary start, never going back: for durations and leases. */
  monotonicMs(): number;
  /** Runs `run` once after `delayMs`; returns what cancels it. Never keeps the process alive. */
  after(delayMs: number, run: () => void): Cancel;
}

export type Cancel = () => void;

/** setTimeout fires at once for anything above a signed 32-bit integer, so longer waits are taken in steps. */
const timeoutMsMax = 2 ** 31 - 1;

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, run) {
    let timer: NodeJS.Timeout;
    const arm = (leftMs: number): void => {
      timer = setTimeout(
        () => (leftMs > timeoutMsMax ? arm(leftMs - timeoutMsMax) : run()),
        Math.min(leftMs, timeoutMsMax),
      );
      timer.unref();
    };
    arm(delayMs);
    return () => clearTimeout(timer);
  },
};
