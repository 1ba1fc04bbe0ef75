/**
 * An error without a stack, for what is thrown thousands of times in a moment and read by nobody: to record the stack takes
 * longer than the refusal that it stands for.
 */
export class StacklessError extends Error {
  constructor(message: string) {
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    super(message);
    Error.stackTraceLimit = stackTraceLimit;
  }
}
