/**
 * The durable record of each session: who is connected, where and since when. Owner and epoch decide who may write:
 * a claim raises the epoch, and every later write of an older claim finds its condition unmet and does nothing.
 */
import type { BrokerId, Clock } from '../../kernel/kernel.js';
import { ConditionFailed, type Dynamo, DynamoUnavailable } from '../../dynamo/dynamo.js';
import { sessionKey, type SessionRecord, sessionToItem } from '../../tenancy/tenancy.js';
import type { SessionRecords } from '../admission/admission.js';

/** What only a release writes, and a claim takes away again. */
const releaseAttributes = ['disconnectedAtMs', 'ttl'];
/** A release that DynamoDB does not take is tried again for about half a minute; the lease tells the rest. */
const releaseTriesMax = 6;

export class DynamoSessionRecords implements SessionRecords {
  readonly #dynamo: Dynamo;
  readonly #owner: BrokerId;
  readonly #clock: Clock;

  constructor(dynamo: Dynamo, owner: BrokerId, clock: Clock) {
    this.#dynamo = dynamo;
    this.#owner = owner;
    this.#clock = clock;
  }

  async claim(record: Omit<SessionRecord, 'epoch' | 'owner'>): Promise<number> {
    const { pk, sk, epoch, ...fields } = sessionToItem({ ...record, owner: this.#owner, epoch: 1 });
    const names: Record<string, string> = { '#epoch': 'epoch' };
    const values: Record<string, unknown> = { ':none': 0, ':one': epoch };
    const sets = Object.entries(fields).map(([name, value], i) => {
      names[`#f${i}`] = name;
      values[`:f${i}`] = value;
      return `#f${i} = :f${i}`;
    });
    releaseAttributes.forEach((name, i) => (names[`#r${i}`] = name));
    const removes = releaseAttributes.map((_, i) => `#r${i}`).join(', ');
    const update = `SET #epoch = if_not_exists(#epoch, :none) + :one, ${sets.join(', ')} REMOVE ${removes}`;
    const item = await this.#dynamo.update('sessions', { pk, sk }, { update, names, values, returns: 'new' });
    return item!['epoch'] as number;
  }

  async release(record: Omit<SessionRecord, 'owner'>): Promise<void> {
    for (let tries = 1; ; tries++)
      try {
        return await this.#release(record);
      } catch (error) {
        if (error instanceof ConditionFailed) return; // Somebody else has claimed it, or it has been removed.
        if (!(error instanceof DynamoUnavailable) || tries === releaseTriesMax) throw error;
        await new Promise<void>((resolve) => this.#clock.after(500 * 2 ** tries, resolve));
      }
  }

  async #release(record: Omit<SessionRecord, 'owner'>): Promise<void> {
    const key = sessionKey(record.tenant, record.clientId);
    const condition = '#owner = :owner AND #epoch = :epoch';
    const names = { '#owner': 'owner', '#epoch': 'epoch' };
    const values = { ':owner': this.#owner, ':epoch': record.epoch };
    if (record.expirySeconds === 0) await this.#dynamo.delete('sessions', key, { condition, names, values });
    else {
      const item = sessionToItem({ ...record, owner: this.#owner });
      await this.#dynamo.put('sessions', item, { condition, names, values });
    }
  }
}
