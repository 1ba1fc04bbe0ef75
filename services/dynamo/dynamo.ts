/** The door of the DynamoDB client: the tables as data, one client for everybody, its typed errors. */
export {
  type Item,
  type KeyAttribute,
  type TableDefinition,
  type TableKey,
  type TableName,
  tableDefinitions,
} from './tables.js';
export { ConditionFailed, DynamoMisconfigured, DynamoRejected, DynamoUnavailable, mayPass } from './errors.js';
export { batchKeysMax, type TableWrite } from './batch.js';
export { brokerAccess, tenantsApiAccess } from './access.js';
export type { Access } from './check.js';
export type { CallOptions, DynamoOptions } from './calls.js';
export { Dynamo, type Page, type SortKeyRange, Statement, type WriteCondition } from './client.js';
export { createTables } from './create.js';
export { checkLayout, layoutUnreadable } from './layout.js';
export { itemBytes } from './item-size.js';
export { removeExpired } from './expire.js';
export { oncePerCause } from './troubles.js';
