/** What this room does with which table: the permissions that a broker needs, tried out at its start. */
import type { Access } from '../../dynamo/dynamo.js';

export const brokerAccess: Access = {
  tenants: ['GetItem'],
  sessions: ['GetItem', 'Query', 'PutItem', 'UpdateItem', 'DeleteItem'],
  routes: ['Query', 'DeleteItem', 'BatchWriteItem'],
  inbox: ['GetItem', 'Query', 'DeleteItem', 'BatchWriteItem'],
  retained: ['GetItem', 'Query', 'PutItem', 'DeleteItem'],
  cluster: ['GetItem', 'Query', 'PutItem', 'UpdateItem', 'DeleteItem'],
};
