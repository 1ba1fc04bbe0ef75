/**
 * What each program does with which table. The broker tries its part out at its start (`check.ts`), the infrastructure
 * grants exactly this, and tests compare it with the calls that are made.
 */
import type { Access } from './check.js';

export const brokerAccess: Access = {
  tenants: ['GetItem'],
  sessions: ['GetItem', 'Query', 'PutItem', 'UpdateItem', 'DeleteItem'],
  routes: ['Query', 'DeleteItem', 'BatchWriteItem'],
  inbox: ['GetItem', 'Query', 'PutItem', 'DeleteItem', 'BatchWriteItem'],
  retained: ['GetItem', 'BatchGetItem', 'Query', 'PutItem', 'UpdateItem', 'DeleteItem'],
  cluster: ['GetItem', 'Query', 'PutItem', 'UpdateItem', 'DeleteItem', 'BatchWriteItem'],
  usage: ['Query', 'UpdateItem'],
};

export const tenantsApiAccess: Access = {
  tenants: ['GetItem', 'Query', 'PutItem', 'UpdateItem', 'DeleteItem', 'BatchWriteItem'],
  sessions: ['GetItem', 'Query', 'BatchWriteItem'],
  routes: ['Query', 'BatchWriteItem'],
  inbox: ['Query', 'BatchWriteItem'],
  retained: ['Query', 'BatchWriteItem'],
  cluster: ['GetItem', 'Query', 'PutItem'],
  usage: ['Query', 'BatchWriteItem'],
};
