/** The door of the store: what brokers keep in DynamoDB, behind the ports of admission and fan-out. */
export { DynamoAccounts } from './accounts.js';
export { type ControlListener, ControlLog } from './control-log.js';
export { Gate } from './gate.js';
export { LeaseEnds } from './lease-ends.js';
export { leaseDynamoOptions, Membership } from './membership.js';
export { DynamoRetained } from './retained.js';
export { DynamoSessionStore } from './session-store.js';
export { DynamoSharedStore } from './shared-store.js';
export { DynamoUsage } from './usage.js';
export { Succession } from './succession.js';
export { willKeysFrom, willPlace } from './will-item.js';
export { commitCallsMax, GroupCommit } from './group-commit.js';
