/**
 * What is to be written, and by whom: who has asked, which lanes are busy, and how a call is filled from that.
 *
 *      add -> dirty -> fill: `take` of the source, its lane is busy -> over, when all that it gave is -> `committed`
 *
 * One source must not cost another anything, for the sources are of all tenants. Tenants take turns (`commit-turns.ts`), and what
 * is a source's (`take`, `committed`) is called guarded, one by one, and never where a failure would count as one of DynamoDB:
 *
 *      take throws               it has nothing under way, its lane is free; the others of the call go out
 *      a write is no item        given up, as one that DynamoDB will never take; the source's other writes are made
 *      committed throws          what was made is made; the lane goes on, the others are told
 *      a write is over twice     the second time is nothing: the source would take what it has under way now for made
 */
import { caught } from '../../kernel/kernel.js';
import { itemBytes, type TableWrite } from '../../dynamo/dynamo.js';
import { scopeOfPartition } from '../../tenancy/tenancy.js';
import type { CommitSource, Write } from '../inbox/inbox.js';
import { CommitTurns, type Part, type Share, type TenantWork } from './commit-turns.js';
import { itemOf } from './inbox-item.js';

/**
 * Above that, but for the last write. Some hundred messages, and a body that V8 does not have to put among its large objects:
 * twice as large it takes ten times as long. It also arrives in time over a slow line.
 */
const callBytesMax = 1 << 16;

export interface Call {
  readonly writes: TableWrite[];
  readonly parts: Map<TableWrite, Part>;
  /** By tenant what of the call is its, as a price. */
  readonly prices: Map<TenantWork, number>;
  bytes: number;
}

export interface Filling {
  readonly writesMax: number;
  readonly nowMs: number;
  readonly mayGo: (tenant: TenantWork) => boolean;
}

export class CommitWork {
  readonly #turns = new CommitTurns();
  #dirty = 0;
  /** Who asks while a call is being filled comes after that: one that asks again and again would hold up all others. */
  #askedMeanwhile: CommitSource[] | undefined;
  /** By lane under way: those of it that have asked meanwhile. */
  readonly #busy = new Map<string, Set<CommitSource>>();
  readonly #ask: (source: CommitSource) => void;

  /** `ask`: a source that has asked meanwhile asks again. */
  constructor(ask: (source: CommitSource) => void) {
    this.#ask = ask;
  }

  get waiting(): number {
    return this.#dirty + this.#busy.size;
  }

  /** False: its lane is busy; it asks again when that is over. */
  add(source: CommitSource): boolean {
    const waiting = this.#busy.get(source.lane);
    if (waiting) waiting.add(source);
    else if (this.#askedMeanwhile) this.#askedMeanwhile.push(source);
    else this.#join(source);
    return !waiting;
  }

  #join(source: CommitSource): void {
    const tenant = this.#turns.of(scopeOfPartition(source.partition));
    if (tenant.dirty.has(source)) return;
    tenant.dirty.add(source);
    this.#dirty++;
    this.#turns.join(tenant);
  }

  /** The next call; without writes when nobody who may go has any. */
  fill(filling: Filling): Call {
    const asked: CommitSource[] = (this.#askedMeanwhile = []);
    const call: Call = { writes: [], parts: new Map(), prices: new Map(), bytes: 0 };
    while (hasRoom(call, filling)) {
      const tenant = this.#turns.next(filling.mayGo);
      if (!tenant || !this.#take(tenant, call, filling)) break;
    }
    this.#askedMeanwhile = undefined;
    for (const source of asked) this.#ask(source);
    return call;
  }

  /** Fills the call from the tenant's turn; false when nothing more is to go with it. */
  #take(tenant: TenantWork, call: Call, filling: Filling): boolean {
    while (tenant.credit > 0 && hasRoom(call, filling)) {
      const again = tenant.ready.peek();
      if (again?.isAlone && call.writes.length > 0) return false;
      if (again) {
        tenant.ready.shift();
        this.#addPart(again, call);
        if (again.isAlone) return false;
        continue;
      }
      const source = tenant.takeDirty();
      if (!source) break;
      this.#dirty--;
      const waiting = this.#busy.get(source.lane);
      if (waiting) waiting.add(source);
      else this.#collect(source, tenant, call, filling);
    }
    this.#turns.forget(tenant);
    return true;
  }

  /** What the source has to write joins the call. */
  #collect(source: CommitSource, tenant: TenantWork, call: Call, { writesMax, nowMs }: Filling): void {
    let taken: readonly Write[];
    try {
      taken = source.take(writesMax - call.writes.length, nowMs, callBytesMax - call.bytes);
    } catch (error) {
      return caught('commit-take', error, { lane: source.lane });
    }
    // Not due yet, or done meanwhile: it asks again as long as it has something.
    if (taken.length === 0) return tellCommitted(source, []);
    this.#busy.set(source.lane, new Set());
    const share: Share = { source, tenant, left: taken.length, refused: [] };
    tenant.shares++;
    for (const write of taken) this.#addPart({ write, share, tries: 0, isAlone: false, isOver: false }, call);
  }

  #addPart(part: Part, call: Call): void {
    const { write, share } = part;
    const { source, tenant } = share;
    try {
      const tableWrite = itemOf(source.partition, write);
      const bytes = 'put' in tableWrite ? itemBytes(tableWrite.put) : 0;
      const price = tenant.spend(bytes);
      call.prices.set(tenant, (call.prices.get(tenant) ?? 0) + price);
      call.bytes += bytes;
      call.writes.push(tableWrite);
      call.parts.set(tableWrite, part);
    } catch (error) {
      caught('commit-item', error, { lane: source.lane });
      share.refused.push(write);
      this.over(part);
    }
  }

  /** The call is under way. */
  begin({ prices }: Call): void {
    for (const tenant of prices.keys()) tenant.calls++;
  }

  end({ prices }: Call): void {
    for (const tenant of prices.keys()) {
      tenant.calls--;
      this.#turns.forget(tenant);
    }
  }

  /** Left undone; their time has come again. */
  ready(parts: readonly Part[]): void {
    for (const part of parts) {
      const { tenant } = part.share;
      tenant.ready.push(part);
      this.#turns.join(tenant);
    }
  }

  /** One write has been made or given up; its source is told when that is so for all it has given. */
  over(part: Part): void {
    if (part.isOver) return;
    part.isOver = true;
    const { share } = part;
    if (--share.left > 0) return;
    const { source, tenant, refused } = share;
    tenant.shares--;
    tellCommitted(source, refused);
    const waiting = this.#busy.get(source.lane)!;
    this.#busy.delete(source.lane);
    for (const next of waiting) this.#ask(next);
  }
}

const hasRoom = ({ writes, bytes }: Call, { writesMax }: Filling): boolean =>
  writes.length < writesMax && bytes < callBytesMax;

function tellCommitted(source: CommitSource, refused: readonly Write[]): void {
  try {
    source.committed(refused);
  } catch (error) {
    caught('commit-told', error, { lane: source.lane });
  }
}
