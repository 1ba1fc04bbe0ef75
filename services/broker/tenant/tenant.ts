/** The door of the tenant room: what one tenant is on this broker, with its limits, rates, memory, turns and numbers. */
export { accessOf } from './access.js';
export { memoryWords } from './memory.js';
export { type ProcessMemory, shedEveryMs, Shedding } from './shedding.js';
export { isWill } from './kept-wills.js';
export type { TenantLimits } from './limits.js';
export type { Tenant } from './local-tenant.js';
export type { Admitted, Connection, LeaseGate, OwnRecord, SharedStore, StoredShared } from './ports.js';
export { depthOf, Residence } from './residence.js';
export type { RateQueue } from './rate-queue.js';
export { type Slowed, uncounted } from './rates.js';
export { systemTopicsEveryMs } from './system-topics.js';
export { type Job, Thread, type TimeAccount } from './thread.js';
export { saveUnitsEveryMs, UnitLedger, type UsageStore } from './units.js';
export { TenantGone, Tenants } from './tenants.js';
export { Turnstile } from './turnstile.js';
export { TurnedAway, type TurnedAwayBy } from './turned-away.js';
