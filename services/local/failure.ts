/**
 * What keeps Shoal from starting and what the person who starts it can put right. Thrown anywhere during start-up;
 * `main.ts` turns it into one line on stderr and exit code 1, without a stack trace.
 */
export class StartFailure extends Error {
  override readonly name = 'StartFailure';
  /** The process that failed has printed its line already. */
  readonly alreadySaid: boolean;

  constructor(message: string, alreadySaid = false) {
    super(message);
    this.alreadySaid = alreadySaid;
  }
}

/** `EACCES`, `ENOTDIR`, … of a system error; undefined for every other value. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
