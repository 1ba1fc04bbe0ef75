/**
 * Questions for sessions that other brokers have, and the answers to theirs, over the links (decision 46). A question is asked once: who
 * gets no answer in time asks again, or gives up. Nothing of it survives a link, and nothing has to.
 *
 * Bounds: one question a client that comes (`admission/places.ts`), 1 s each; what others ask waits in the client's turn here.
 */
import type { Buffer } from 'node:buffer';
import { type BrokerId, type ClientId, type Clock, type TenantScope, unattended } from '../kernel/kernel.js';
import type { Cluster } from './cluster/cluster.js';
import { PendingReceipt, type Receipt } from './message/message.js';
import type {
  GivenSession,
  Interest,
  Takeover,
  TakeoverAnswer,
  TakeoverHost,
  TakeoverWish,
} from './residence/residence.js';
import {
  type AnswerFrame,
  answerBody,
  finishBody,
  giveBody,
  type Mesh,
  readAnswer,
  readFinish,
  readGive,
  takeoverTypes as types,
} from './mesh/mesh.js';

/** A round trip, a few writes, and what waits before them. */
const answerWithinMs = 1000;

export interface TakeoversOptions {
  readonly mesh: Pick<Mesh, 'send' | 'handle'>;
  readonly clock: Clock;
  /** What others ask is answered by it. */
  readonly host: () => TakeoverHost;
}

export class Takeovers implements Takeover {
  readonly #options: TakeoversOptions;
  readonly #asked = new Map<number, { readonly of: BrokerId; readonly answer: (frame: AnswerFrame) => void }>();
  #questions = 0;

  constructor(options: TakeoversOptions) {
    this.#options = options;
    const { mesh } = options;
    mesh.handle(types.give, (from, body) => this.#onGive(from as BrokerId, body));
    mesh.handle(types.finish, (from, body) => this.#onFinish(from as BrokerId, body));
    mesh.handle(types.answer, (from, body) => this.#onAnswer(from as BrokerId, body));
  }

  async from(
    owner: BrokerId,
    { tenant, clientId, says, beginsAnew }: TakeoverWish,
  ): Promise<TakeoverAnswer | undefined> {
    const answer = await this.#ask(owner, types.give, (id) =>
      giveBody({ id, beginsAnew, epoch: says.epoch, owner: says.owner, tenant, clientId }),
    );
    if (!answer || answer.kind === 'finished') return undefined;
    const { kind, epoch } = answer;
    return kind === 'given' ? { kind, epoch } : { kind };
  }

  async finish(owner: BrokerId, { tenant, clientId, epoch }: GivenSession): Promise<boolean> {
    const answer = await this.#ask(owner, types.finish, (id) => finishBody({ id, epoch, tenant, clientId }));
    return answer?.kind === 'finished';
  }

  #ask(of: BrokerId, type: number, bodyOf: (id: number) => Buffer): Promise<AnswerFrame | undefined> {
    const { mesh, clock } = this.#options;
    this.#questions = (this.#questions + 1) >>> 0;
    const id = this.#questions;
    return new Promise((resolve) => {
      const end = (frame?: AnswerFrame): void => {
        cancel();
        this.#asked.delete(id);
        resolve(frame);
      };
      const cancel = clock.after(answerWithinMs, () => end());
      this.#asked.set(id, { of, answer: end });
      mesh.send(of, type, bodyOf(id)); // Without a link it is not answered either.
    });
  }

  #onAnswer(from: BrokerId, body: Buffer): void {
    const frame = readAnswer(body);
    const asked = frame && this.#asked.get(frame.id);
    if (asked?.of === from) asked.answer(frame!);
  }

  #onGive(from: BrokerId, body: Buffer): void {
    const frame = readGive(body);
    if (!frame) return;
    const { id, beginsAnew, epoch, owner, tenant, clientId } = frame;
    const says = { owner: owner as BrokerId, epoch };
    const wish = { tenant: tenant as TenantScope, clientId: clientId as ClientId, says, beginsAnew };
    const given = this.#options.host().give(wish);
    unattended(
      'link',
      given.then((answer) => this.#answer(from, { id, epoch: 0, ...answer })),
    );
  }

  #onFinish(from: BrokerId, body: Buffer): void {
    const frame = readFinish(body);
    if (!frame) return;
    const { id, epoch, tenant, clientId } = frame;
    const finished = this.#options
      .host()
      .finish({ tenant: tenant as TenantScope, clientId: clientId as ClientId, epoch });
    unattended(
      'link',
      finished.then((isDone) => isDone && this.#answer(from, { id, kind: 'finished', epoch: 0 })),
    );
  }

  /** If it does not go out it is asked for again. */
  #answer(to: BrokerId, frame: AnswerFrame): void {
    this.#options.mesh.send(to, types.answer, answerBody(frame));
  }
}

/** What the cluster knows of a session that moves. */
export function interestOf(cluster: Pick<Cluster, 'whenArrived'>): Interest {
  return {
    matched: (tenant) => whenCalled((then) => tenant.whenMatched(then)),
    arrived: ({ scope }) => whenCalled((then) => cluster.whenArrived(scope, then)),
  };
}

function whenCalled(ask: (then: () => void) => void): Receipt {
  const receipt = new PendingReceipt();
  ask(() => receipt.settle(0));
  return receipt;
}
