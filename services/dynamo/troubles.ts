/**
 * What fails at present between this process and DynamoDB, one trouble a cause, however many calls meet it: so that each
 * cause is told once and its end is told, too. Every failure is counted elsewhere (`meter.ts`).
 *
 *      call fails -> its trouble, new or known, goes with the error -> `oncePerCause` tells it, or knows that it is told
 *      call succeeds -> its tables are cleared of the action's troubles; one without tables is over
 *
 * A call over several tables does not tell which one it failed for: all are suspects, until another failure or a success
 * narrows them down.
 */
import type { Log } from '../kernel/kernel.js';
import { type DynamoMisconfigured, DynamoUnavailable } from './errors.js';
import type { TableName } from './tables.js';

/** Nobody has met it for so long: if it comes back, that is news. */
const forgottenAfterMs = 600_000;

interface Trouble {
  readonly code: string;
  /** Undefined: DynamoDB cannot be reached, whatever is asked for. */
  readonly action: string | undefined;
  suspects: ReadonlySet<TableName>;
  readonly sinceMs: number;
  lastMs: number;
  failures: number;
  /** By which sentences it has been told. */
  readonly told: Set<string>;
}

const troubleOf = new WeakMap<Error, Trouble>();

export class Troubles {
  readonly #log: Log;
  #present: Trouble[] = [];

  constructor(log: Log) {
    this.#log = log;
  }

  failed(tables: readonly TableName[], action: string, error: DynamoUnavailable | DynamoMisconfigured): void {
    const nowMs = performance.now();
    const isUnreachable = error instanceof DynamoUnavailable && error.isUnreachable;
    const code = isUnreachable ? '' : error.code;
    this.#present = this.#present.filter(({ lastMs }) => nowMs - lastMs < forgottenAfterMs);
    let trouble = this.#present.find(
      (known) =>
        known.code === code &&
        (isUnreachable || (known.action === action && tables.some((table) => known.suspects.has(table)))),
    );
    if (!trouble) {
      const suspects = new Set(tables);
      trouble = {
        code,
        action: isUnreachable ? undefined : action,
        suspects,
        sinceMs: nowMs,
        lastMs: nowMs,
        failures: 0,
        told: new Set(),
      };
      this.#present.push(trouble);
    }
    if (!isUnreachable) trouble.suspects = new Set(tables.filter((table) => trouble.suspects.has(table)));
    trouble.lastMs = nowMs;
    trouble.failures++;
    troubleOf.set(error, trouble);
  }

  /** Also when a condition did not hold: DynamoDB has looked at the table. Runs with every call. */
  succeeded(tables: readonly TableName[], action: string): void {
    if (this.#present.length === 0) return;
    this.#present = this.#present.filter((trouble) => {
      if (trouble.action !== undefined && trouble.action !== action) return true;
      const left = trouble.action === undefined ? [] : [...trouble.suspects].filter((table) => !tables.includes(table));
      if (left.length > 0) {
        trouble.suspects = new Set(left);
        return true;
      }
      this.#end(trouble, tables, action);
      return false;
    });
  }

  #end({ code, told, failures, sinceMs }: Trouble, tables: readonly TableName[], action: string): void {
    if (told.size === 0) return;
    const fields = { tables, action, code, failures, seconds: Math.round((performance.now() - sinceMs) / 1000) };
    this.#log.info(fields, 'DynamoDB works again');
  }
}

/**
 * A log that tells each cause once: a line whose `error` is a wrong set-up is left out while the same cause lasts, and one
 * whose `error` is an outage if the same sentence was told of it. All other lines pass.
 */
export function oncePerCause(log: Log): Log {
  const isNews = (fields: object, sentence: string): boolean => {
    const error = 'error' in fields ? fields.error : undefined;
    const trouble = error instanceof Error ? troubleOf.get(error) : undefined;
    if (!trouble) return true;
    const isTold = error instanceof DynamoUnavailable ? trouble.told.has(sentence) : trouble.told.size > 0;
    trouble.told.add(sentence);
    return !isTold;
  };
  return {
    debug: (fields, message) => log.debug(fields, message),
    info: (fields, message) => log.info(fields, message),
    warn: (fields, message) => {
      if (isNews(fields, message)) log.warn(fields, message);
    },
    error: (fields, message) => {
      if (isNews(fields, message)) log.error(fields, message);
    },
  };
}
