/**
 * Whose wills are not published: those of clients that may not come in any more. A credential that has been deleted has
 * nothing more to say, and neither has a tenant that is suspended or deleted. Where the operator chooses
 * (`SHOAL_PUBLISH_REVOKED_WILLS`), those of the first two are published as if the client had gone by itself.
 *
 *  | the will                            | credential deleted | password rotated | tenant suspended | tenant deleted |
 *  | ----------------------------------- | ------------------ | ---------------- | ---------------- | -------------- |
 *  | of a client that is connected       | withdrawn          | published        | withdrawn        | withdrawn      |
 *  | that waits for its delay            | withdrawn          | when it is due   | withdrawn        | withdrawn      |
 *  | of a session whose broker has gone  | not taken over     | when it is due   | not taken over   | removed        |
 *  | that was published before           | nothing is taken back, but what is retained or queued goes with the tenant |
 *
 * "Withdrawn" is within the two seconds in which a broker hears of a change. A credential that was made anew under the
 * same name is another one. Grants that allow the topic no more withdraw a will, too (`Session.setAccess`); a session that
 * its tenant ends publishes its will, because its client may come back.
 */
import type { Credential, SessionRecord } from '../../tenancy/tenancy.js';
import type { Residence } from '../tenant/tenant.js';

/** Clocks of the API and of brokers may differ by this much. */
export const clockMarginMs = 1000;

/** Whether the credential with which the client came in is no more; rotation keeps when it was made. */
export function wasDeleted({ credential }: Residence, current: Credential | undefined): boolean {
  return current === undefined || current.createdAtMs !== credential.createdAtMs;
}

/** The same for a stored session, of which only the name of the credential is known: it is younger than the connection. */
export function isOfDeleted({ connectedAtMs }: SessionRecord, current: Credential | undefined): boolean {
  return current === undefined || current.createdAtMs > connectedAtMs + clockMarginMs;
}
