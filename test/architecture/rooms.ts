/**
 * The map of the code: every room, its door, and who may import whom. This one table generates the dependency rules
 * that `npm run check` runs (`rules.ts`), so a new arrow between rooms is always a change of this file.
 */

export interface Room {
  /** The folder, or a regular expression of the files, that make up the room. */
  readonly files: string;
  /** The only file that other rooms may import; a room without a door is imported by nobody. */
  readonly door?: string;
  /** Rooms whose doors this room may import. */
  readonly mayImport: readonly string[];
  /** Rooms of which it may import types only (the ports it implements). */
  readonly mayImportTypes?: readonly string[];
}

const brokerRooms = [
  'message',
  'inbox',
  'wire',
  'session',
  'fanout',
  'interest',
  'tenant',
  'residence',
  'admission',
  'outbox',
  'mesh',
  'cluster',
  'transport',
  'store',
  'ops',
] as const satisfies readonly string[];

const under = (folder: string): string => `^${folder}/`;

export const rooms: Readonly<Record<string, Room>> = {
  kernel: { files: under('services/kernel'), door: 'services/kernel/kernel.ts', mayImport: [] },
  topic: { files: under('services/topic'), door: 'services/topic/topic.ts', mayImport: ['kernel'] },
  tenancy: { files: under('services/tenancy'), door: 'services/tenancy/tenancy.ts', mayImport: ['kernel', 'topic'] },
  dynamo: { files: under('services/dynamo'), door: 'services/dynamo/dynamo.ts', mayImport: ['kernel'] },

  message: {
    files: under('services/broker/message'),
    door: 'services/broker/message/message.ts',
    mayImport: ['kernel', 'topic'],
  },
  inbox: {
    files: under('services/broker/inbox'),
    door: 'services/broker/inbox/inbox.ts',
    mayImport: ['kernel', 'message'],
  },
  wire: {
    files: under('services/broker/wire'),
    door: 'services/broker/wire/wire.ts',
    mayImport: ['kernel', 'topic', 'message'],
  },
  session: {
    files: under('services/broker/session'),
    door: 'services/broker/session/session.ts',
    mayImport: ['kernel', 'topic', 'message', 'inbox', 'wire'],
  },
  fanout: {
    files: under('services/broker/fanout'),
    door: 'services/broker/fanout/fanout.ts',
    mayImport: ['kernel', 'topic', 'message'],
  },
  interest: {
    files: under('services/broker/interest'),
    door: 'services/broker/interest/interest.ts',
    mayImport: ['kernel', 'topic', 'message'],
  },
  tenant: {
    files: under('services/broker/tenant'),
    door: 'services/broker/tenant/tenant.ts',
    mayImport: ['kernel', 'topic', 'tenancy', 'message', 'inbox', 'session', 'fanout'],
    mayImportTypes: ['wire'],
  },
  residence: {
    files: under('services/broker/residence'),
    door: 'services/broker/residence/residence.ts',
    mayImport: ['kernel', 'topic', 'tenancy', 'message', 'inbox', 'wire', 'session', 'tenant'],
  },
  admission: {
    files: under('services/broker/admission'),
    door: 'services/broker/admission/admission.ts',
    mayImport: ['kernel', 'tenancy', 'inbox', 'message', 'wire', 'tenant', 'residence'],
    mayImportTypes: ['fanout'],
  },
  outbox: {
    files: under('services/broker/outbox'),
    door: 'services/broker/outbox/outbox.ts',
    mayImport: ['kernel'],
    mayImportTypes: ['message'],
  },
  mesh: {
    files: under('services/broker/mesh'),
    door: 'services/broker/mesh/mesh.ts',
    mayImport: ['kernel', 'outbox'],
  },
  cluster: {
    files: under('services/broker/cluster'),
    door: 'services/broker/cluster/cluster.ts',
    mayImport: ['kernel', 'message', 'interest', 'mesh'],
  },
  transport: {
    files: under('services/broker/transport'),
    door: 'services/broker/transport/transport.ts',
    mayImport: ['kernel', 'wire', 'session', 'fanout', 'tenant', 'admission', 'outbox'],
    mayImportTypes: ['message', 'residence'],
  },
  store: {
    files: under('services/broker/store'),
    door: 'services/broker/store/store.ts',
    mayImport: ['kernel', 'tenancy', 'topic', 'message', 'dynamo'],
    mayImportTypes: ['inbox', 'session', 'fanout', 'tenant', 'residence', 'admission'],
  },
  ops: {
    files: under('services/broker/ops'),
    door: 'services/broker/ops/ops.ts',
    mayImport: ['kernel'],
    mayImportTypes: ['transport', 'tenant', 'admission', 'fanout'],
  },
  /** `main.ts`, `compose.ts`, `config.ts`: the only files that know every room of the broker. */
  broker: {
    files: '^services/broker/[^/]+$',
    mayImport: ['kernel', 'topic', 'tenancy', 'dynamo', ...brokerRooms],
  },

  'tenants-api': {
    files: under('tenants-api'),
    door: 'tenants-api/entry/local.ts',
    mayImport: ['kernel', 'topic', 'tenancy', 'dynamo'],
  },
  infra: { files: under('infra'), mayImport: ['dynamo'] },
  local: { files: under('services/local'), mayImport: ['kernel', 'topic', 'tenancy', 'dynamo', 'tenants-api'] },
};

/** Outside the map: they may import anything, and nothing of the product may import them. */
export const outside: readonly string[] = ['test', 'bench', 'smoke'];

/** npm packages that belong to some rooms alone; what is not listed here may be used by any room. */
export const packageRooms: Readonly<Record<string, readonly string[]>> = {
  '@aws-sdk/client-dynamodb': ['dynamo'],
  '@aws-sdk/util-dynamodb': [],
  '@aws-sdk/client-secrets-manager': ['tenants-api'],
  '@smithy/': ['dynamo'],
  ws: ['transport'],
  hono: ['tenants-api'],
  '@hono/': ['tenants-api'],
  zod: ['tenants-api', 'tenancy'],
  'swagger-ui-dist': ['tenants-api'],
  '@peculiar/': ['local'],
  'reflect-metadata': ['local'],
  dynalite: ['local'],
  esbuild: ['local'],
  commander: ['local'],
  'aws-cdk-lib': ['infra'],
  constructs: ['infra'],
  'mqtt-packet': [],
  mqtt: [],
  aedes: [],
};
