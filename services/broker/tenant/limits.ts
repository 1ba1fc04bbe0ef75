/** A tenant's quotas as numbers to compare with: `null` has become Infinity, and the rates are buckets. */
import { TokenBucket } from '../../kernel/kernel.js';
import { effectiveQuotas, quotaKinds, type Tenant as TenantRecord } from '../../tenancy/tenancy.js';

import type { TimeAccount } from './thread.js';

/** Below every item size limit of the store, whatever the quota says. */
const packetBytesHardMax = quotaKinds.find(({ kind }) => kind === 'messageBytesMax')!.hardMax!;
/** Sessions that a tenant may have in all, as a multiple of the connections it may have: bounds what is offline. */
const sessionsPerConnection = 10;
/** What one connection may use of the packet rate of its tenant. */
const connectionShare = 0.5;

export class TenantLimits {
  connections = Infinity;
  sessions = Infinity;
  packetBytesMax = packetBytesHardMax;
  subscriptionsPerSession = Infinity;
  subscriptions = Infinity;
  sessionExpirySecondsMax = Infinity;
  queuedMessagesPerSession = Infinity;
  retainedMessages = Infinity;
  retainedBytes = Infinity;
  connectsPerSecond = Infinity;
  databaseUnitsPerSecond = Infinity;
  databaseUnitsPerMonth = Infinity;
  memoryBytes = Infinity;
  readonly publish: TokenBucket;
  readonly deliver: TokenBucket;
  readonly bytesIn: TokenBucket;
  readonly bytesOut: TokenBucket;
  /** Of all that is no PUBLISH; as many as may be of PUBLISHes. */
  readonly otherBytesIn: TokenBucket;
  readonly packets: TokenBucket;
  /** Topic filters of SUBSCRIBE and UNSUBSCRIBE. */
  readonly subscribes: TokenBucket;
  /** Of one connection: it cannot use up what there is for all. */
  packetsPerConnection = Infinity;
  /** Deliveries into the store, for clients that are away or behind; they leave it by `deliver`. */
  readonly store: TokenBucket;
  readonly bytesStored: TokenBucket;
  readonly connects: TokenBucket;
  /** Of the wills that CONNECTs bring; when they are published they count as messages. */
  readonly willBytes: TokenBucket;
  /** False: no rate is limited, and the buckets need not be asked. */
  inLimited = false;
  outLimited = false;
  packetsLimited = false;

  readonly #time: TimeAccount;

  /** `time`: is told of its share. */
  constructor(record: TenantRecord, time: TimeAccount, nowMs: number) {
    this.#time = time;
    this.publish = new TokenBucket(Infinity, nowMs);
    this.deliver = new TokenBucket(Infinity, nowMs);
    this.bytesIn = new TokenBucket(Infinity, nowMs);
    this.bytesOut = new TokenBucket(Infinity, nowMs);
    this.otherBytesIn = new TokenBucket(Infinity, nowMs);
    this.packets = new TokenBucket(Infinity, nowMs);
    this.subscribes = new TokenBucket(Infinity, nowMs);
    this.store = new TokenBucket(Infinity, nowMs);
    this.bytesStored = new TokenBucket(Infinity, nowMs);
    this.connects = new TokenBucket(Infinity, nowMs);
    this.willBytes = new TokenBucket(Infinity, nowMs);
    this.set(record, nowMs);
  }

  set(record: TenantRecord, nowMs: number): void {
    const quotas = effectiveQuotas(record.plan, record.quotaOverrides);
    const limit = (kind: keyof typeof quotas): number => quotas[kind] ?? Infinity;
    this.connections = limit('connections');
    this.sessions = this.connections * sessionsPerConnection;
    this.packetBytesMax = Math.min(limit('messageBytesMax'), packetBytesHardMax);
    this.subscriptionsPerSession = limit('subscriptionsPerSession');
    this.subscriptions = limit('subscriptions');
    this.sessionExpirySecondsMax = limit('sessionExpirySecondsMax');
    this.queuedMessagesPerSession = limit('queuedMessagesPerSession');
    this.retainedMessages = limit('retainedMessages');
    this.retainedBytes = limit('retainedBytes');
    this.databaseUnitsPerSecond = limit('databaseUnitsPerSecond');
    this.databaseUnitsPerMonth = limit('databaseUnitsPerMonth');
    this.memoryBytes = limit('memoryBytes');
    this.#time.setShare(limit('cpuShare'));
    this.publish.setRate(limit('publishPerSecond'), nowMs);
    this.deliver.setRate(limit('deliverPerSecond'), nowMs);
    this.bytesIn.setRate(limit('bytesPerSecond'), nowMs);
    this.bytesOut.setRate(limit('bytesPerSecond'), nowMs);
    this.store.setRate(limit('deliverPerSecond'), nowMs);
    this.bytesStored.setRate(limit('bytesPerSecond'), nowMs);
    this.willBytes.setRate(limit('bytesPerSecond'), nowMs);
    this.connectsPerSecond = limit('connectsPerSecond');
    this.connects.setRate(this.connectsPerSecond, nowMs);
    this.otherBytesIn.setRate(limit('bytesPerSecond'), nowMs);
    this.packets.setRate(limit('packetsPerSecond'), nowMs);
    this.packetsLimited = limit('packetsPerSecond') !== Infinity || limit('bytesPerSecond') !== Infinity;
    this.packetsPerConnection = limit('packetsPerSecond') * connectionShare;
    this.subscribes.setRate(limit('subscribesPerSecond'), nowMs);
    const bytesLimited = limit('bytesPerSecond') !== Infinity;
    this.outLimited = bytesLimited || limit('deliverPerSecond') !== Infinity;
    this.inLimited = this.outLimited || limit('publishPerSecond') !== Infinity;
  }
}
