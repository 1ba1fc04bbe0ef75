/** Access rules for one client, compiled in slices of its tenant's time: until then its CONNECT waits, and nobody else does. */
import { type Access, accessWork, compileAccess, type Grant } from '../../tenancy/tenancy.js';
import type { TimeAccount } from './thread.js';

export function accessOf(
  time: TimeAccount,
  grants: readonly Grant[] | undefined,
  who: { readonly clientId: string; readonly username: string },
): Access | Promise<Access> {
  const work = accessWork(grants, who);
  return work ? time.through(work).then(() => compileAccess(grants, who)) : compileAccess(grants, who);
}
