/**
 * What was measured of Shoal and what is assumed about a fleet: the other inputs of docs/cost.md. Each row says which
 * command measures it, or that nobody has. The machine of the measurements is in the document.
 */

export interface Figure {
  readonly value: number;
  readonly unit: string;
  readonly of: string;
  readonly from: string;
}

const figureList = <Name extends string>(list: Readonly<Record<Name, Figure>>): Readonly<Record<Name, Figure>> => list;

const connections = '`npm run bench:connections`';
const sparse = '`npm run bench -- --only sparse-qos1`';
const durableOnline = '`npm run bench -- --only durable-online`';
const durableOffline = '`npm run bench -- --only durable-offline`';
const drain = '`npm run bench -- --only durable-drain`';

export const measured = figureList({
  memoryKbTcp: { value: 10, unit: 'KB', of: 'memory of an idle connection with a subscription', from: connections },
  memoryKbTls: { value: 55, unit: 'KB', of: 'the same, with TLS in the broker', from: connections },
  connectUsTcp: { value: 440, unit: 'us', of: 'CPU of a client that returns to its session', from: connections },
  connectUsTls: { value: 1720, unit: 'us', of: 'the same, with TLS in the broker (full handshake)', from: connections },
  leaveUsTcp: { value: 350, unit: 'us', of: 'CPU of a lost connection', from: connections },
  leaveUsTls: { value: 750, unit: 'us', of: 'the same, with TLS in the broker', from: connections },
  pingUsTcp: { value: 27, unit: 'us', of: 'CPU of a PINGREQ and its answer', from: connections },
  pingUsTls: { value: 42, unit: 'us', of: 'the same, with TLS in the broker', from: connections },
  connectWriteUnits: { value: 1, unit: 'unit', of: 'written when a client returns', from: connections },
  leaveWriteUnits: { value: 1, unit: 'unit', of: 'written when a connection is lost', from: connections },
  messageUs: { value: 34, unit: 'us', of: 'CPU of a QoS 1 message, received and delivered once', from: sparse },
  storedUs: { value: 27, unit: 'us', of: 'CPU of storing a QoS 1 message', from: durableOffline },
  drainUs: { value: 17, unit: 'us', of: 'time of reading one back (its CPU is less)', from: drain },
  onlineWriteUnits: {
    value: 7,
    unit: 'units a million',
    of: 'written for messages acknowledged at once',
    from: durableOnline,
  },
  onlineReadUnits: { value: 20, unit: 'units a million', of: 'read for them', from: durableOnline },
});

const reckoned = 'calculated from the code';
const template = '`infra/stages.ts`, stage `prod`';
const assumed = 'assumed';

/** Of a message that is stored alone, and of the service itself. */
export const reckonings = figureList({
  aloneWriteUnits: {
    value: 2,
    unit: 'units',
    of: 'written for a message stored alone: put and delete',
    from: reckoned,
  },
  noteWriteUnits: {
    value: 1,
    unit: 'unit',
    of: 'written when the queue of an offline client has grown',
    from: reckoned,
  },
  aloneReadUnits: { value: 1, unit: 'unit', of: 'read for such a message when its client returns', from: reckoned },
  leaseWriteUnits: { value: 2.6e6, unit: 'units a month', of: 'written by a broker for its lease', from: reckoned },
  leaseReadUnits: {
    value: 3.9e6,
    unit: 'units a month',
    of: 'read by a broker: leases and control log',
    from: reckoned,
  },
  standbyReadUnits: {
    value: 11.8e6,
    unit: 'units a month',
    of: 'read by a broker that stands by: the lock and a lease every 0.5 s, all leases every 2 s',
    from: reckoned,
  },
  sessionBytes: {
    value: 1000,
    unit: 'bytes',
    of: 'stored for a session with a subscription',
    from: assumed,
  },
});

export const service = figureList({
  vcpu: { value: 1, unit: 'vCPU', of: 'a broker task', from: template },
  memoryGb: { value: 4, unit: 'GB', of: 'a broker task, TLS at the load balancer', from: template },
  memoryGbTls: {
    value: 8,
    unit: 'GB',
    of: 'a broker task, TLS in the broker (`brokerMemoryMiB: 8192`)',
    from: assumed,
  },
  connectionsMax: { value: 50_000, unit: 'connections', of: 'the most that a task takes', from: template },
  zones: { value: 2, unit: 'zones', of: 'availability zones, an address in each', from: template },
  metrics: { value: 32, unit: 'metrics', of: 'metrics of the brokers', from: '[metrics.md](metrics.md)' },
  alarms: { value: 20, unit: 'alarms', of: 'alarms', from: '[deploy.md](deploy.md)' },
  otherUsd: { value: 7, unit: '$ a month', of: 'Container Insights, Lambda, HTTP API, secrets', from: assumed },
  clusterAlarms: { value: 3, unit: 'alarms', of: 'alarms of a cluster, besides', from: '[runbook.md](runbook.md)' },
  clusterKeys: { value: 2, unit: 'secrets', of: 'keys of the links', from: '[deploy.md](deploy.md#several-brokers)' },
  targetsMax: { value: 500, unit: 'targets', of: 'of a load balancer; each task counts twice', from: 'a quota of AWS' },
});

export const assumptions = figureList({
  connectionsShare: {
    value: 0.7,
    unit: 'of them',
    of: 'connections of a task of a cluster, of the most',
    from: '`infra/constructs/broker-service.ts`',
  },
  cpuShare: {
    value: 0.6,
    unit: 'of it',
    of: 'CPU that a task of a cluster uses',
    from: '`infra/constructs/broker-service.ts`',
  },
  memoryShare: { value: 0.8, unit: 'of it', of: 'share of its memory that a task may use', from: assumed },
  baseMemoryGb: { value: 0.15, unit: 'GB', of: 'memory of a broker without clients', from: assumed },
  hops: { value: 2, unit: 'times', of: 'CPU of a message in a cluster, which two brokers handle', from: assumed },
  headerBytes: { value: 74, unit: 'bytes', of: 'IP and TCP headers and a TLS record around a packet', from: assumed },
  handshakeBytesOut: {
    value: 4000,
    unit: 'bytes',
    of: 'sent for a TLS handshake with its certificates',
    from: assumed,
  },
  handshakeBytesIn: { value: 1000, unit: 'bytes', of: 'received for it', from: assumed },
  logBytes: { value: 400, unit: 'bytes', of: 'log line of a lost connection', from: assumed },
});
