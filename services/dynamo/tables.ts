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

export interface IndexDefinition {
  readonly name: string;
  readonly partitionKey: KeyAttribute;
  /** `keys` holds the keys alone: it is written only when one of them changes, so that a hot record costs one write. */
  readonly projection: 'all' | 'keys';
}

export interface TableDefinition {
  readonly name: TableName;
  readonly partitionKey: KeyAttribute;
  readonly sortKey: KeyAttribute;
  readonly indexes: readonly IndexDefinition[];
  readonly ttlAttribute: 'ttl';
  /** One line for people: what a row is. */
  readonly holds: string;
}

function table(name: TableName, holds: string, indexes: readonly IndexDefinition[] = []): TableDefinition {
  return {
    name,
    partitionKey: { name: 'pk', type: 'S' },
    sortKey: { name: 'sk', type: 'S' },
    indexes,
    ttlAttribute: 'ttl',
    holds,
  };
}

export const tableDefinitions: readonly TableDefinition[] = [
  table('tenants', 'by tenant id: the tenant, its API keys and credentials; sign-up counts by source address'),
  table('sessions', 'by tenant and bucket, then client id: who owns the session, whether it is connected', [
    // Who adopts the sessions of a dead broker reads them by owner, then each record by its key.
    { name: 'by-owner', partitionKey: { name: 'owner', type: 'S' }, projection: 'keys' },
  ]),
  table('routes', 'by tenant and bucket, then client and topic filter: subscriptions of persistent sessions'),
  table('inbox', 'by tenant and client, then sequence: messages that a session has not acknowledged'),
  table('retained', 'by tenant, then topic: the retained message'),
  table('cluster', 'broker leases and the control log'),
  table('usage', 'by tenant and month, then day: what was used'),
];

export function tableDefinition(name: TableName): TableDefinition {
  const found = tableDefinitions.find((definition) => definition.name === name);
  if (found === undefined) throw new Error(`no table is called ${name}`);
  return found;
}
