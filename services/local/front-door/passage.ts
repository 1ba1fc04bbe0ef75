/**
 * One client's connection through the front door: two sockets, and each is read only as fast as the other takes it.
 *
 *      client --(TLS ends here)--> door --PROXY header, then the client's bytes--> broker
 *
 * The end of one direction is passed on, and the other one stays open: a client that has sent everything may still be answered. Who
 * waits for whom how long is the broker's to decide, which has a deadline for everything a client does. The door has two of its
 * own, for what the broker cannot see through it: clients that stay when the broker has said its last word, and clients that
 * take nothing. Of the latter it reads no further what their broker sends, and so would not notice that it has closed.
 */
import { connect, type Socket } from 'node:net';
import type { Cancel, Clock } from '../../kernel/kernel.js';
import { proxyHeader } from './proxy-header.js';

/** On this machine a connection is made at once, unless the broker is frozen and its queue is full. */
const connectMsMax = 5000;
/** From the broker's last byte: for some 128 KiB that wait, over a link of 50 kbit/s. */
export const lingerMs = 30_000;
/** Without taking some 64 KiB that wait. As long as a load balancer lets a connection be idle. */
export const stallMsMax = 350_000;

export interface PassageOptions {
  readonly client: Socket;
  /** Of the broker, on 127.0.0.1. */
  readonly port: number;
  readonly clock: Clock;
  /** Both sockets are closed. `reached`: whether the broker had accepted the connection. */
  onOver(reached: boolean): void;
}

export function openPassage({ client, port, clock, onOver }: PassageOptions): void {
  const header = proxyHeader(
    { address: client.remoteAddress, port: client.remotePort },
    { address: client.localAddress, port: client.localPort },
  );
  const broker = connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true });
  let isReached = false;
  let open = 2;
  let cancelLinger: Cancel = () => undefined;
  let cancelStall: Cancel = () => undefined;
  const cancelConnect = clock.after(connectMsMax, () => broker.destroy());
  const closed = (): void => {
    if (--open > 0) return;
    cancelLinger();
    cancelStall();
    onOver(isReached);
  };
  const linger = (): void => {
    cancelStall();
    cancelLinger();
    cancelLinger = clock.after(lingerMs, () => client.destroy());
  };
  client.on('error', ignore);
  broker.on('error', ignore);

  broker.once('connect', () => {
    isReached = true;
    cancelConnect();
    broker.write(header);
    // `pipe` stops reading while the other side does not take more, and ends it at the end.
    client.pipe(broker);
    broker.pipe(client);
    if (client.destroyed) broker.end();
    // `pipe` says so when it waits for the client, and when it goes on.
    broker.on('pause', () => {
      cancelStall();
      if (!broker.readableEnded) cancelStall = clock.after(stallMsMax, () => client.destroy());
    });
    broker.on('resume', () => cancelStall());
    broker.once('end', linger);
  });
  client.once('close', () => {
    cancelStall();
    // What has been read of it goes to the broker, and then the end. What the broker still sends goes nowhere.
    if (isReached) broker.end();
    else broker.destroy();
    broker.resume();
    closed();
  });
  broker.once('close', () => {
    cancelConnect();
    // Nothing tells of a connection that was never made better than its end.
    if (!isReached) client.destroy();
    else if (!client.destroyed) {
      client.end();
      client.resume(); // Bytes that nobody reads would make the system cut off what is still to be sent.
      linger();
    }
    closed();
  });
}

/** `close` follows, and says all that is needed. */
function ignore(): void {}
