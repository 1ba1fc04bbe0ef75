/**
 * The seven tables as data. `createTables` builds them on one machine, the infrastructure in AWS, and
 * `Dynamo.check` compares what it finds against them. Every table has the same shape: text keys `pk` and `sk`,
 * on-demand capacity, point-in-time recovery and a time to live in `ttl` (epoch seconds).
 */

export type TableName = 'tenants' | 'sessions' | 'routes' | 'inbox' | 'retained' | 'cluster' | 'usage';

/** A plain item: strings, numbers, booleans, null, Uint8Array, sets, arrays and plain objects of these. */
export type Item = Record<string, unknown>;

/** At most 2048 bytes in `pk` and 1024 in `sk`. */
export interface TableKey {
  readonly pk: string;
  readonly sk: string;
}

export interface KeyAttribute {
  readonly name: string;
  /** S: text, N: number, B: bytes. */
  readonly type: 'S' | 'N' | 'B';
}

export interface TableDefinition {
  readonly name: TableName;
  readonly partitionKey: KeyAttribute;
  readonly sortKey: KeyAttribute;
  readonly ttlAttribute: 'ttl';
  /** One line for people: what a row is. */
  readonly holds: string;
}

function table(name: TableName, holds: string): TableDefinition {
  return {
    name,
    partitionKey: { name: 'pk', type: 'S' },
    sortKey: { name: 'sk', type: 'S' },
    ttlAttribute: 'ttl',
    holds,
  };
}

export const tableDefinitions: readonly TableDefinition[] = [
  table('tenants', 'by tenant id: the tenant, its API keys and credentials; sign-up counts by source address'),
  table('sessions', 'by tenant and bucket, then client id: the session, its owner, whether it is connected'),
  table('routes', 'by tenant and bucket, then client and topic filter: subscriptions of stored sessions'),
  table('inbox', 'by tenant and client, then sequence: messages that a session has not acknowledged'),
  table('retained', 'by tenant, then topic: the retained message'),
  table('cluster', 'broker leases, notes of which broker has which tenants, and the control log'),
  table('usage', 'by tenant and month, then day: database units used'),
];

export function tableDefinition(name: TableName): TableDefinition {
  const found = tableDefinitions.find((definition) => definition.name === name);
  if (found === undefined) throw new Error(`no table is called ${name}`);
  return found;
}
