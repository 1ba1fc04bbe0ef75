/** What `Mesh` knows of another broker, as long as it is a member. */
import type { Cancel } from '../../kernel/kernel.js';
import type { Link } from './link.js';

/** Three times the brokers that a cluster is planned for. */
export const membersMax = 300;
const redialMsMin = 100;
const redialMsMax = 5000;

export interface Peer {
  readonly id: string;
  address: string;
  /** When its hello came, until its lease has been read; by the monotonic clock. */
  saidHelloAtMs: number | undefined;
  /** Greeted. */
  link: Link | undefined;
  /** Dialled, and not greeted yet: a link or a knock. */
  dialled: Link | undefined;
  dials: number;
  /** Since the link was last up. */
  failures: number;
  cancelRedial: Cancel | undefined;
}

export const newPeer = (id: string, address: string): Peer => ({
  ...{ id, address, dials: 0, failures: 0 },
  ...{ saidHelloAtMs: undefined, link: undefined, dialled: undefined, cancelRedial: undefined },
});

/** Before it is dialled again: doubled each time, and by `chance` (0 to 1) up to half less, so that a cluster does not dial in step. */
export const redialMs = (failures: number, chance: number): number =>
  Math.min(redialMsMin * 2 ** Math.min(failures, 20), redialMsMax) * (0.5 + chance / 2);
