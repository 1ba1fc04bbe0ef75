/** Our own fault, never a peer's: closes the one connection that hit it (see `transport`), not the process. */
export class AssertionFailed extends Error {
  override readonly name = 'AssertionFailed';
}

export function assert(condition: unknown, what: string): asserts condition {
  if (!condition) throw new AssertionFailed(what);
}

/** For the default branch of a switch over a union: a new member fails the type check here. */
export function unreachable(value: never): never {
  throw new AssertionFailed(`unexpected value ${JSON.stringify(value)}`);
}
