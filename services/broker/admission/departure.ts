/**
 * What happens when a client leaves and when its session ends: the will, now or after its delay; the end of the
 * session, now or when it has expired; and the record, which says so.
 */
import type { Clock, Log } from '../../kernel/kernel.js';
import { neverExpiresSeconds } from '../../tenancy/tenancy.js';
import { Message } from '../message/message.js';
import type { Session } from '../session/session.js';
import { cappedExpirySeconds } from './connect-request.js';
import type { Admitted, Ending, SessionRecords } from './ports.js';
import type { Residence } from './residence.js';
import type { Tenant } from './tenant.js';

export interface DepartureOptions {
  readonly records: SessionRecords;
  readonly clock: Clock;
  readonly log: Log;
}

export class Departure {
  readonly #options: DepartureOptions;

  constructor(options: DepartureOptions) {
    this.#options = options;
  }

  /** The connection of an admitted client has ended. Call it once, whatever the cause. */
  disconnected(admitted: Admitted, ending: Ending): void {
    const { tenant, session, channel } = admitted;
    if (session.channel !== channel) return;
    const residence = tenant.residences.get(session.clientId)!;
    const { clock } = this.#options;
    const nowMs = clock.nowMs();
    tenant.connections--;
    residence.connection = undefined;
    if (ending.expirySeconds !== undefined)
      session.expirySeconds = cappedExpirySeconds(ending.expirySeconds, tenant.limits);
    if (!ending.publishWill) session.will = undefined; // [MQTT-3.14.4-3]
    if (session.expirySeconds === 0) {
      this.endSession(tenant, residence, nowMs);
    } else {
      session.detach(nowMs);
      this.#scheduleWill(tenant, residence, nowMs);
      if (session.expirySeconds !== Infinity)
        residence.cancelExpiry = clock.after(session.expirySeconds * 1000, () =>
          this.endSession(tenant, residence, clock.nowMs()),
        );
    }
    this.release(tenant, residence, nowMs);
  }

  /** In turn, so that it cannot overtake a CONNECT of the same client; by epoch, so that it cannot harm one. */
  release(tenant: Tenant, { session, record }: Residence, nowMs: number): void {
    const expirySeconds = Math.min(session.expirySeconds, neverExpiresSeconds);
    const released = { ...record, connected: false, disconnectedAtMs: nowMs, expirySeconds };
    tenant
      .inTurn(session.clientId, () => this.#options.records.release(released))
      .catch((error: unknown) =>
        this.#options.log.warn({ tenant: tenant.id, error }, 'a session record could not be released'),
      );
  }

  /** [MQTT-3.1.2-8] [MQTT-3.1.3-9] At once, or when its delay is over and nobody has come back. */
  #scheduleWill(tenant: Tenant, residence: Residence, nowMs: number): void {
    const { session } = residence;
    if (session.will === undefined) return;
    if (session.will.delaySeconds === 0) publishWill(tenant, session, nowMs);
    else
      residence.cancelWill = this.#options.clock.after(session.will.delaySeconds * 1000, () =>
        publishWill(tenant, session, this.#options.clock.nowMs()),
      );
  }

  /** The session ends for good: with it its subscriptions and, if it is still due, its will. */
  endSession(tenant: Tenant, residence: Residence, nowMs: number): void {
    const { session } = residence;
    if (tenant.residences.get(session.clientId) === residence) tenant.residences.delete(session.clientId);
    residence.cancelWill?.();
    residence.cancelExpiry?.();
    for (const subscription of session.subscriptions.values()) tenant.unsubscribe(session, subscription);
    session.subscriptions.clear();
    if (session.channel !== undefined) session.detach(nowMs);
    session.end(nowMs);
    publishWill(tenant, session, nowMs);
  }
}

function publishWill(tenant: Tenant, session: Session, nowMs: number): void {
  const { will } = session;
  if (will === undefined) return;
  session.will = undefined; // [MQTT-3.1.2-10] Once.
  tenant.publish(
    Message.of({
      topic: { text: will.topic, bytes: Buffer.from(will.topic) },
      payload: will.payload,
      qos: will.qos,
      retain: will.retain,
      properties: will.properties,
      ...(will.expirySeconds !== undefined && { expiresAtMs: nowMs + will.expirySeconds * 1000 }),
      publisher: session.clientId,
    }),
    nowMs,
  );
}
