/**
 * A radio receiver for rtl_433, as `rtl_tcp` serves one: it sends samples of a signal over and over. The signal is on-off
 * keying with pulse width modulation: 24 bits, short pulses for ones.
 */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';

/** What rtl_433 is told to look for, in microseconds. */
export const decoder = 'n=button,m=OOK_PWM,s=400,l=800,r=8000,g=3000,bits=24';
/** 24 bits, as rtl_433 prints them. */
export const code = 'c0ffee';

const samplesPerMs = 250;

function samples(): Buffer {
  const silent = (ms: number): number[] => Array.from({ length: Math.round(ms * samplesPerMs) }, () => 128);
  const loud = (ms: number): number[] => Array.from({ length: Math.round(ms * samplesPerMs) }, () => 250);
  const bits = [...BigInt(`0x${code}`).toString(2).padStart(24, '0')];
  const frame = [...bits.flatMap((bit) => [...loud(bit === '1' ? 0.4 : 0.8), ...silent(0.6)]), ...silent(20)];
  const amplitudes = [...silent(50), ...frame, ...frame, ...frame, ...silent(50)];
  // In phase, and nothing in quadrature.
  return Buffer.from(amplitudes.flatMap((amplitude) => [amplitude, 128]));
}

export class Radio {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #timer: NodeJS.Timeout | undefined;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<Radio> {
    const server = createServer();
    const radio = new Radio(server);
    const signal = samples();
    server.on('connection', (socket) => {
      radio.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.resume(); // What it is asked to tune to makes no difference.
      // Magic, a tuner, its number of gains.
      socket.write(Buffer.concat([Buffer.from('RTL0'), Buffer.from('000000050000001d', 'hex')]));
      radio.#timer = setInterval(() => {
        if (socket.writableLength === 0) socket.write(signal);
      }, 200);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return radio;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    clearInterval(this.#timer);
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}
