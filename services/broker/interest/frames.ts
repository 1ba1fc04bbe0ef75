/** What brokers tell each other of subscriptions, in the order in which it is sent. Number: of the watch, per tenant and watcher. */
import type { TenantScope } from '../../kernel/kernel.js';

export interface ToldFilter {
  readonly pattern: string;
  readonly high: number;
  readonly low: number;
  readonly isThere: boolean;
}

export type InterestFrame =
  | { readonly type: 'watch'; readonly tenant: TenantScope; readonly watch: number }
  | { readonly type: 'unwatch'; readonly tenant: TenantScope; readonly watch: number }
  | {
      readonly type: 'interest';
      readonly tenant: TenantScope;
      readonly watch: number;
      readonly filters: readonly ToldFilter[];
      /** The answer to `watch` ends here: all that there was has been told. */
      readonly isWhole: boolean;
    };

/** To one other broker: in order, each frame once, for as long as both live, however often the connection is cut. */
export interface InterestLane {
  /** The number of the frame. `Watchers.heard` says up to which the other broker has handled them. */
  send(frame: InterestFrame): number;
}
