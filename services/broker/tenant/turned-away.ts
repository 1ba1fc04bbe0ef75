import { StacklessError } from '../../kernel/kernel.js';

/** Why a CONNECT does not come in although its client may: admission has the words (`refusals.ts`). */
export type TurnedAwayBy =
  /** The quota of connections is reached. */
  | 'connections'
  /** So many sessions are here already. */
  | 'sessions'
  /** The tenant has used much more of the database than it may. */
  | 'units'
  /** Its quota of memory is used up. */
  | 'memory'
  /** The broker is short of memory, and the tenant has most of it. */
  | 'shed'
  /** More CONNECTs than the tenant may make in a second. */
  | 'rate'
  /** The rate of messages or of their bytes has no room for its will. */
  | 'will'
  /** Another CONNECT of the same client id has come. */
  | 'displaced'
  /** What else goes on for its client id takes too long. */
  | 'turn'
  /** Another broker has its session, and has not handed it over in time. */
  | 'elsewhere'
  /** The client has left. */
  | 'gone';

export class TurnedAway extends StacklessError {
  override readonly name = 'TurnedAway';
  readonly by: TurnedAwayBy;

  constructor(by: TurnedAwayBy) {
    super(`a CONNECT was turned away: ${by}`);
    this.by = by;
  }
}
