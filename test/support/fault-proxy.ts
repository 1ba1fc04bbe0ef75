/**
 * An HTTP proxy in front of a real DynamoDB engine that injects faults: a broker under test is pointed at it and cannot
 * tell it from a database in trouble. What it forwards it forwards whole, also when the client has gone meanwhile, as a
 * database does with a request that it has received. It never invents the success of a write.
 */
import {
  Agent,
  createServer,
  request,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { type ChooseFault, type Fault, type FaultKind, noFaults } from './faults.js';

/** `refuse`: nobody listens. `reset`: connections end at once. `hang`: requests are taken and never answered. */
export type Outage = 'refuse' | 'reset' | 'hang';

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

interface Batch {
  RequestItems: Record<string, unknown[]>;
  UnprocessedItems?: Record<string, unknown[]>;
}

const errorTypes = {
  internalError: [500, 'com.amazonaws.dynamodb.v20120810#InternalServerError', 'injected: internal error'],
  throttle: [
    400,
    'com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException',
    'injected: the level of configured provisioned throughput for the table was exceeded',
  ],
  accessDenied: [400, 'com.amazon.coral.service#AccessDeniedException', 'injected: not authorized'],
} as const satisfies Partial<Record<FaultKind, readonly [number, string, string]>>;

export class FaultProxy {
  /** May be changed at any time; asked once for every request. */
  choose: ChooseFault;
  /** What a policy says to an action on any of its tables: the words of the refusal, or nothing. As `choose`. */
  deny: (action: string, table: string) => string | undefined = () => undefined;
  /**
   * Told of every request before it is forwarded, and again when the engine has carried it out, before the answer is sent:
   * what it waits for holds the request up. A test kills the client at either moment.
   */
  onRequest: ((action: string, body: string, when: 'before' | 'after') => void | Promise<void>) | undefined;
  /** Requests that arrived, by action. */
  readonly requests = new Map<string, number>();
  /** Faults that happened, by kind; an outage counts each request it met. */
  readonly faults = new Map<FaultKind | Outage, number>();
  readonly #upstream: URL;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #port = 0;
  #outage: Outage | undefined;

  private constructor(upstream: string, choose: ChooseFault) {
    this.#upstream = new URL(upstream);
    this.choose = choose;
    this.#server = createServer((incoming, response) => void this.#serve(incoming, response));
    this.#server.on('connection', (socket) => {
      if (this.#outage === 'reset') return void this.#resetSocket(socket);
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  static async start(upstream: string, choose: ChooseFault = noFaults): Promise<FaultProxy> {
    const proxy = new FaultProxy(upstream, choose);
    await proxy.#listen();
    return proxy;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** From now on nothing gets through, until `endOutage`. Connections that are open end, unless it hangs. */
  async beginOutage(outage: Outage): Promise<void> {
    this.#outage = outage;
    if (outage === 'hang') return;
    const closed = outage === 'refuse' ? this.#stopListening() : undefined;
    for (const socket of this.#sockets) socket.resetAndDestroy();
    await closed;
  }

  /** Requests that hung are cut: their clients would otherwise wait for an answer that cannot come. */
  async endOutage(): Promise<void> {
    const ended = this.#outage;
    this.#outage = undefined;
    if (ended === 'hang') for (const socket of this.#sockets) socket.resetAndDestroy();
    if (ended === 'refuse') await this.#listen();
  }

  async close(): Promise<void> {
    const closed = this.#server.listening ? this.#stopListening() : undefined;
    for (const socket of this.#sockets) socket.destroy();
    await closed;
    this.#agent.destroy();
  }

  requestCount(): number {
    return [...this.requests.values()].reduce((sum, count) => sum + count, 0);
  }

  async #listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#port, '127.0.0.1', resolve);
    });
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  #stopListening(): Promise<void> {
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    incoming.on('error', () => {});
    response.on('error', () => {});
    try {
      const body = await readAll(incoming);
      const action = actionOf(incoming.headers);
      count(this.requests, action);
      if (this.#outage !== undefined) {
        count(this.faults, this.#outage);
        if (this.#outage !== 'hang') incoming.socket.resetAndDestroy();
        return;
      }
      const refusal = this.#refusal(action, body);
      if (refusal !== undefined) {
        count(this.faults, 'accessDenied');
        const [status, type] = errorTypes.accessDenied;
        return this.#send(response, errorAnswer([status, type, refusal]));
      }
      await this.onRequest?.(action, String(body), 'before');
      const fault = this.choose(action);
      const applies = fault !== undefined && (fault.kind !== 'partialBatch' || action === 'BatchWriteItem');
      await this.#answer(incoming, body, response, applies ? fault : undefined);
    } catch {
      // The client has gone in the middle of its request, or the engine is away: both look like a lost connection.
      incoming.socket.destroy();
    }
  }

  #refusal(action: string, body: Buffer): string | undefined {
    const asked = JSON.parse(String(body)) as { TableName?: string; RequestItems?: object };
    const tables = asked.TableName === undefined ? Object.keys(asked.RequestItems ?? {}) : [asked.TableName];
    return tables.map((table) => this.deny(action, table)).find((words) => words !== undefined);
  }

  async #answer(incoming: IncomingMessage, body: Buffer, response: ServerResponse, fault?: Fault): Promise<void> {
    if (fault === undefined) return this.#send(response, await this.#forward(incoming, body));
    count(this.faults, fault.kind);
    switch (fault.kind) {
      case 'internalError':
      case 'throttle':
      case 'accessDenied':
        return this.#send(response, errorAnswer(errorTypes[fault.kind]));
      case 'reset':
        return void incoming.socket.resetAndDestroy();
      case 'lostAnswer':
        await this.#forward(incoming, body);
        return void incoming.socket.resetAndDestroy();
      case 'delay': {
        const answer = await this.#forward(incoming, body);
        await wait(fault.delayMs ?? 0);
        return this.#send(response, answer);
      }
      case 'lateWrite':
        await wait(fault.delayMs ?? 0);
        return this.#send(response, await this.#forward(incoming, body));
      case 'partialBatch':
        return this.#send(response, await this.#forwardPart(incoming, body, fault.share ?? 0.5));
    }
  }

  /** At least one of the writes is left out: a batch that was done in full would be no fault. */
  async #forwardPart(incoming: IncomingMessage, body: Buffer, share: number): Promise<Answer> {
    const batch = JSON.parse(String(body)) as Batch;
    const done: Batch['RequestItems'] = {};
    const left: Batch['RequestItems'] = {};
    const total = Object.values(batch.RequestItems).flat().length;
    let room = Math.min(total - 1, Math.floor(total * share));
    for (const [table, writes] of Object.entries(batch.RequestItems)) {
      const taken = Math.min(room, writes.length);
      room -= taken;
      if (taken > 0) done[table] = writes.slice(0, taken);
      if (taken < writes.length) left[table] = writes.slice(taken);
    }
    if (Object.keys(done).length === 0) return jsonAnswer(200, { UnprocessedItems: left });
    const answer = await this.#forward(incoming, Buffer.from(JSON.stringify({ ...batch, RequestItems: done })));
    if (answer.status !== 200) return answer;
    const said = JSON.parse(String(answer.body)) as Batch;
    for (const [table, writes] of Object.entries(said.UnprocessedItems ?? {}))
      left[table] = [...(left[table] ?? []), ...writes];
    return jsonAnswer(200, { ...said, UnprocessedItems: left });
  }

  #forward({ method, url, headers }: IncomingMessage, body: Buffer): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const sent = request(
        new URL(url ?? '/', this.#upstream),
        {
          method,
          agent: this.#agent,
          headers: { ...headers, host: this.#upstream.host, 'content-length': String(body.length) },
        },
        (answer) => {
          readAll(answer)
            .then(async (read) => {
              await this.onRequest?.(actionOf(headers), String(body), 'after');
              resolve({ status: answer.statusCode ?? 502, headers: answer.headers, body: read });
            })
            .catch(reject);
        },
      );
      sent.on('error', reject);
      sent.end(body);
    });
  }

  #send(response: ServerResponse, { status, headers, body }: Answer): void {
    if (response.destroyed) return;
    const { connection: _, 'transfer-encoding': _chunked, 'content-length': _length, ...kept } = headers;
    response.writeHead(status, { ...kept, 'content-length': String(body.length) });
    response.end(body);
  }

  #resetSocket(socket: Socket): void {
    count(this.faults, 'reset');
    socket.resetAndDestroy();
  }
}

const actionOf = (headers: IncomingHttpHeaders): string =>
  /\.(\w+)$/.exec(String(headers['x-amz-target']))?.[1] ?? 'unknown';

async function readAll(stream: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

const jsonAnswer = (status: number, body: object): Answer => ({
  status,
  headers: { 'content-type': 'application/x-amz-json-1.0' },
  body: Buffer.from(JSON.stringify(body)),
});

const errorAnswer = ([status, type, message]: readonly [number, string, string]): Answer =>
  jsonAnswer(status, { __type: type, message });

function count<Key>(counts: Map<Key, number>, key: Key): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
