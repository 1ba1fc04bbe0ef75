/** What can go wrong between a broker and DynamoDB, and rules that choose when. Used with FaultProxy. */
import { Chance } from './chance.js';

export type FaultKind =
  /** 500 InternalServerError; nothing was done. */
  | 'internalError'
  /** 400 ProvisionedThroughputExceededException; nothing was done. */
  | 'throttle'
  /** 400 AccessDeniedException; nothing was done. */
  | 'accessDenied'
  /** Answered, but `delayMs` late. */
  | 'delay'
  /** The connection is reset before anything was done. */
  | 'reset'
  /** Done, and then the connection is reset instead of an answer. */
  | 'lostAnswer'
  /** A BatchWriteItem does part of its writes and reports the rest as unprocessed. Other actions pass. */
  | 'partialBatch'
  /** Done only after `delayMs`, whether or not the client still waits for it. */
  | 'lateWrite';

export interface Fault {
  readonly kind: FaultKind;
  /** For `delay` and `lateWrite`. */
  readonly delayMs?: number;
  /** For `partialBatch`: how many of the writes are done, from 0 to 1. Default 0.5. */
  readonly share?: number;
}

/** The fault of one request, if it has one. `action` is DynamoDB's name: `PutItem`. */
export type ChooseFault = (action: string) => Fault | undefined;

export const noFaults: ChooseFault = () => undefined;

/** The first `count` requests of one action, all others pass. */
export function faultOn(action: string, fault: Fault, count = 1): ChooseFault {
  let left = count;
  return (requested) => (requested === action && left-- > 0 ? fault : undefined);
}

/** Each request has at most one fault; `rates` are probabilities and sum up to 1 at most. */
export function randomFaults(seed: number, rates: Partial<Record<FaultKind, number>>, delayMsMax: number): ChooseFault {
  const chance = new Chance(seed);
  const kinds = Object.entries(rates) as [FaultKind, number][];
  return () => {
    let drawn = chance.next();
    // Always the same number of draws for one request, so that one request more does not change all after it.
    const delayMs = chance.between(1, delayMsMax);
    const share = chance.next();
    for (const [kind, rate] of kinds) {
      if (drawn < rate) return { kind, delayMs, share };
      drawn -= rate;
    }
    return undefined;
  };
}
