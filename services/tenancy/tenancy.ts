/** The door of tenancy: what a tenant, credential, grant, quota and control entry IS. Shared by broker and tenant API. */
export { type Access, accessWork, bridgeStates, compileAccess, type Grant, grantError, grantsMax } from './access.js';
export { formatApiKey, generateApiKeyParts, parseApiKey } from './apikey.js';
export {
  type BrokerDrain,
  controlCursorAt,
  type ControlEntry,
  controlFromItem,
  controlPartition,
  controlTimeMs,
  controlToItem,
  type TenantEntry,
} from './control.js';
export {
  type ApiKey,
  apiKeyFromAttribute,
  apiKeyFromItem,
  apiKeyToAttribute,
  type Credential,
  credentialFromItem,
  credentialToItem,
  type Tenant,
  tenantFromItem,
  tenantToItem,
} from './records.js';
export {
  apiKeyKey,
  apiKeyPrefix,
  brokerLeaseKey,
  leaseEndKey,
  brokersPartition,
  clientIdBytesMax,
  isClientId,
  clientOfPartition,
  clientPartition,
  clientRoutes,
  filterInRouteKey,
  routeKey,
  scopeOfPartition,
  sharedPartition,
  credentialKey,
  credentialPrefix,
  keyBounds,
  servingLockKey,
  sessionBuckets,
  sessionKey,
  retainedTotalsKey,
  tenantKey,
  tenantNoteKey,
  tenantNotePrefix,
  tenantNoteShards,
  usagePartition,
} from './keys.js';
export { RecordUnreadable } from './item.js';
export {
  type Fate,
  NotHereYet,
  type Shares,
  sharesAmong,
  sharesToText,
  slotCount,
  slotOf,
  slotsToText,
  type Way,
  wayOf,
} from './shares.js';
export {
  adoptedByAttribute,
  type BrokerLease,
  brokerLeaseFromItem,
  brokerLeaseToItem,
  type BrokerLinks,
  type BrokerLoad,
  isAlive,
  type LeaseEnd,
  leaseEndFromItem,
  leaseEndToItem,
  givenUpAt,
  markOf,
  type ServingLock,
  servingLockFromItem,
  servingLockToItem,
} from './leases.js';
export { generateCreationId, type Incarnation, scopeOf, tenantOf } from './scope.js';
export { credentialNameError, newTenantIdError, plainUserName, sdkOf, splitUserName, tenantIdError } from './names.js';
export {
  effectiveQuotas,
  type PlanName,
  plans,
  type QuotaKind,
  quotaKinds,
  quotaValueError,
  type Quotas,
} from './quotas.js';
export {
  chosenPasswordCharactersMax,
  chosenPasswordCharactersMin,
  generateSecret,
  hashSecret,
  isGeneratedSecret,
  isStretched,
  type SecretHash,
  verifySecret,
} from './secrets.js';
export {
  neverExpiresSeconds,
  type SessionRecord,
  epochAt,
  sessionFromItem,
  sessionToItem,
  type StoredWill,
  type WillContent,
} from './sessions.js';
