/** What a client is told that is turned away although its name and password are right, or before anybody has looked at them. */
import { PeerFault, type Reason, reasons } from '../wire/wire.js';
import { memoryWords, type TurnedAway, type TurnedAwayBy } from '../tenant/tenant.js';

const refusals: Readonly<Record<TurnedAwayBy, readonly [reason: Reason, words: string]>> = {
  connections: [reasons.quotaExceeded, 'the tenant has reached its quota of connections'],
  sessions: [reasons.quotaExceeded, 'the tenant has reached its limit of sessions'],
  units: [reasons.quotaExceeded, 'the tenant has used up its database units; try again later'],
  memory: [reasons.quotaExceeded, memoryWords.memory],
  shed: [reasons.quotaExceeded, memoryWords.shed],
  rate: [reasons.connectionRateExceeded, 'the tenant has reached its quota of CONNECTs per second; try again later'],
  will: [
    reasons.connectionRateExceeded,
    'the wills in CONNECT packets exceed the bytes per second of the tenant; try again later',
  ],
  displaced: [
    reasons.sessionTakenOver,
    'a newer CONNECT with this client identifier arrived before this one was admitted',
  ],
  turn: [
    reasons.serverUnavailable,
    'the end of the previous connection of the client, perhaps its will, could not be stored yet; try again later',
  ],
  elsewhere: [
    reasons.serverUnavailable,
    'another broker has the session of the client and could not hand it over yet; try again later',
  ],
  gone: [reasons.connectionLost, 'the client left before it was admitted'],
};

export function faultOf({ by }: TurnedAway): PeerFault {
  return new PeerFault(...refusals[by]);
}

export const strangersBusy = (): PeerFault =>
  new PeerFault(
    reasons.serverBusy,
    'too many clients from this address, or of the tenant in the user name, are connecting at once; try again later',
  );

export const waitedTooLong = (): PeerFault =>
  new PeerFault(reasons.serverBusy, 'more clients are connecting than the broker can let in; try again later');

export const tenantBusy = (): PeerFault =>
  new PeerFault(reasons.serverBusy, 'too many clients of the tenant are connecting at once; try again later');

export const passwordsBusy = (): PeerFault =>
  new PeerFault(reasons.serverBusy, 'too many passwords are waiting to be checked; try again later');

export const shuttingDown = (): PeerFault =>
  new PeerFault(reasons.serverShuttingDown, reasons.serverShuttingDown.words);
