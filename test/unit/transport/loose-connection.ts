/** A real connection with its flusher and wheel, without a network below it and with an admission that lets everybody in. */
import type { Admission } from '../../../services/broker/admission/admission.js';
import { TenantLimits } from '../../../services/broker/tenant/limits.js';
import { TenantRates } from '../../../services/broker/tenant/rates.js';
import { TenantUnits } from '../../../services/broker/tenant/units.js';
import { SafetyLedger } from '../../../services/broker/tenant/safety-ledger.js';
import {
  type Admitted,
  type Connection as AdmissionConnection,
  Thread,
} from '../../../services/broker/tenant/tenant.js';
import { newMeters } from '../../../services/broker/message/message.js';
import { Channel, Session } from '../../../services/broker/session/session.js';
import { Connection } from '../../../services/broker/transport/connection.js';
import { Flusher } from '../../../services/broker/outbox/flusher.js';
import type { ByteSink, ByteStream } from '../../../services/broker/transport/ports.js';
import { DeadlineWheel } from '../../../services/broker/transport/wheel.js';
import { Slab, TopicTable } from '../../../services/broker/wire/wire.js';
import {
  type ClientId,
  type TenantId,
  type TenantScope,
  Metrics,
  silentLog,
  systemClock,
} from '../../../services/kernel/kernel.js';
import { encode } from '../../fuzz/packets.js';
import type { FakeHost } from '../session/world.js';
import { everything, nowMs } from '../session/world.js';

const acme = 'acme' as TenantId;

export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export class LooseStream implements ByteStream {
  readonly remoteAddress = 'test';
  unsentBytes = 0;
  written: Buffer[] = [];
  isEnded = false;
  write(bytes: Buffer): void {
    this.written.push(Buffer.from(bytes));
  }
  pause(): void {}
  resume(): void {}
  end(): void {
    this.isEnded = true;
  }
  destroy(): void {
    this.isEnded = true;
  }
  take(): Buffer {
    return Buffer.concat(this.written.splice(0));
  }
}

export interface LooseConnection {
  readonly session: Session;
  readonly connection: Connection;
  readonly stream: LooseStream;
  readonly sink: ByteSink;
  /** The reason with which it ended. */
  readonly endedBy: string | undefined;
  /** It has told that it is gone, and its place is free. */
  readonly isGone: boolean;
}

/** Admitted, with an MQTT 5.0 client. */
export async function looseConnection(
  host: FakeHost,
  disconnected?: (session: Session) => void,
): Promise<LooseConnection> {
  const session = new Session('c' as ClientId, host, everything);
  session.renew(1);
  const time = new Thread(systemClock).account();
  const record = { id: acme, plan: 'free', status: 'active', quotaOverrides: {}, createdAtMs: 0 } as const;
  const limits = new TenantLimits(record, time, systemClock.nowMs());
  const units = new TenantUnits('acme' as string as TenantScope, limits, systemClock);
  const rates = new TenantRates(limits, new SafetyLedger(1 << 20), units, time, systemClock);
  const tenant = { id: acme, limits, rates, time, meters: newMeters() } as unknown as Admitted['tenant'];
  const admission = {
    connect(_: unknown, connection: AdmissionConnection): Promise<void> {
      const wish = {
        version: 5,
        isBridge: false,
        receiveMaximum: 65_535,
        inFlightMax: 256,
        packetBytesMax: Infinity,
      } as const;
      const channel = new Channel(connection, new Slab(), { ...wish, topicAliasMax: 0, problemInformation: false });
      connection.admitted({ tenant, session, channel, keepAliveSeconds: 0 });
      session.attach(channel, nowMs);
      return Promise.resolve();
    },
    disconnected: () => (disconnected ?? (() => session.detach(nowMs)))(session), // At once, as the departure does it.
  } as unknown as Admission;
  const metrics = new Metrics();
  const wheel = new DeadlineWheel(() => performance.now()); // Its timer keeps no process alive.
  const flusher = new Flusher({ leave: () => 'all', onLapsed() {} }, systemClock);
  const world = { admission, topics: new TopicTable(), flusher, wheel, clock: systemClock, log: silentLog, metrics };
  const stream = new LooseStream();
  let sink!: ByteSink;
  const place = { occupant: undefined, become() {}, mayBeSilentFor() {} };
  let isGone = false;
  const onGone = (): void => void (isGone = true);
  const connection = new Connection({ ...world, onGone }, place, (given) => {
    sink = given;
    return stream;
  });
  const connect = { cmd: 'connect', clientId: 'c', protocolId: 'MQTT', protocolVersion: 5, clean: true } as const;
  sink.onBytes(encode({ ...connect, keepalive: 0 }, 5));
  await turn();
  return {
    session,
    connection,
    stream,
    sink,
    get isGone() {
      return isGone;
    },
    get endedBy() {
      const closed = [...metrics.samples()].find(({ name }) => name === 'shoal_connections_closed_total');
      return connection.closed ? closed?.labels['reason'] : undefined;
    },
  };
}
