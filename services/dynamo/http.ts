/**
 * One signed HTTP request to DynamoDB and its answer. The SDK takes 300 us of processor time a call, most of it for what a
 * broker does not need: middleware for every service, a model of every action. This takes a tenth. What is hard to get
 * right stays the SDK's: where DynamoDB is, and credentials that are found and renewed; and it is what a test compares this with.
 *
 * Errors have the shape of the SDK's (`SdkError`), so that `errors.ts` need not know who made the call.
 */
import type { Pool as UndiciPool } from 'undici';
import request from 'undici/lib/api/api-request.js';
import Pool from 'undici/lib/dispatcher/pool.js';
import type { SdkError } from './set-up.js';
import { type Credentials, Signer } from './signature.js';

/** A connection that nothing was sent on for so long is closed: a handshake is dear, and a broker makes a call a second. */
const idleMsMax = 30_000;

export interface HttpOptions {
  readonly region: string;
  /** Asked before the first request. */
  readonly endpoint: () => Promise<URL>;
  /** Asked before each request; remembers what it has found for as long as it is good. */
  readonly credentials: () => Promise<Credentials>;
  /** Connections that are open at once; each carries one request at a time. */
  readonly connectionsMax: number;
  readonly connectTimeoutMs: number;
}

interface Link {
  readonly pool: UndiciPool;
  readonly host: string;
  readonly path: string;
}

/** Above it a clock is corrected; DynamoDB refuses what is 15 minutes off. */
const skewMsMax = 5 * 60_000;

export class Http {
  readonly #options: HttpOptions;
  readonly #signer: Signer;
  #link: Promise<Link> | undefined;
  #isClosed = false;
  /** By how much the clock of this machine is behind. */
  #skewMs = 0;

  constructor(options: HttpOptions) {
    this.#options = options;
    this.#signer = new Signer(options.region);
  }

  /** Rejects with an `SdkError`, or when `signal` is aborted. */
  async send<T>(action: string, input: object, signal: AbortSignal): Promise<T> {
    const [{ pool, host, path }, credentials] = await Promise.all([this.#linked(), this.#options.credentials()]);
    if (this.#isClosed) throw withCode('the client has been closed', 'ECONNRESET');
    const body = JSON.stringify(input);
    const unsigned = { host, path, target: `DynamoDB_20120810.${action}`, body };
    const headers = this.#signer.sign(unsigned, credentials, Date.now() + this.#skewMs);
    let statusCode: number | undefined;
    try {
      const answer = await request.call(pool, { method: 'POST', path, headers, body, signal });
      ({ statusCode } = answer);
      const text = await answer.body.text();
      if (statusCode === 200) return parsed(text) as T;
      throw this.#refusal(statusCode, answer.headers, text);
    } catch (error) {
      // What undici throws then is a DOMException, whose code is a number.
      if (signal.aborted) throw Object.assign(new Error('aborted', { cause: error }), { name: 'AbortError' });
      throw withSystemCode(error as Error & SdkError, statusCode);
    }
  }

  /** One for all. When the endpoint could not be found, which may want credentials, the next call looks for it again. */
  #linked(): Promise<Link> {
    if (!this.#link) {
      const link = this.#open();
      link.catch(() => (this.#link = undefined));
      this.#link = link;
    }
    return this.#link;
  }

  async #open(): Promise<Link> {
    const { endpoint, connectionsMax, connectTimeoutMs } = this.#options;
    const url = await endpoint();
    const pool = new Pool(url.origin, {
      connections: connectionsMax,
      pipelining: 1,
      connect: { timeout: connectTimeoutMs },
      keepAliveTimeout: idleMsMax, // Or what the server says, if that is less.
      // Each attempt has its own time; what ends a call is its signal.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    return { pool, host: url.host, path: url.pathname };
  }

  #refusal(httpStatusCode: number, headers: Readonly<Record<string, unknown>>, text: string): Error {
    const told = parsed(text) as {
      __type?: string;
      message?: string;
      Message?: string;
      Item?: Record<string, unknown>;
    } | null;
    const requestId = headers['x-amzn-requestid'];
    const type = told?.__type ?? headers['x-amzn-errortype'];
    const name = typeof type === 'string' ? type.replace(/^.*#/, '').replace(/:.*$/, '') : 'UnknownError';
    if (/RequestTimeTooSkewed|InvalidSignature|RequestExpired|SignatureDoesNotMatch/.test(name))
      this.#correctClock(headers['date']);
    return Object.assign(new Error(told?.message ?? told?.Message ?? name), {
      name,
      ...(told?.Item && { Item: told.Item }),
      $metadata: { httpStatusCode, requestId: typeof requestId === 'string' ? requestId : undefined },
    });
  }

  #correctClock(date: unknown): void {
    const aheadMs = Date.parse(String(date)) - Date.now();
    if (Math.abs(aheadMs - this.#skewMs) > skewMsMax) this.#skewMs = aheadMs;
  }

  close(): void {
    this.#isClosed = true;
    void this.#link?.then(({ pool }) => pool.destroy()).catch(() => undefined);
  }
}

/** Throws SyntaxError for what is no JSON: something else answers there. */
function parsed(text: string): unknown {
  return text === '' ? null : JSON.parse(text);
}

function withCode(words: string, code: string, cause?: Error): Error {
  return Object.assign(new Error(words, { cause }), { code });
}

/** What undici says in words of its own, as the system would say it. */
const systemCodes: Readonly<Record<string, string>> = {
  UND_ERR_SOCKET: 'ECONNRESET',
  UND_ERR_CONNECT_TIMEOUT: 'ETIMEDOUT',
  UND_ERR_DESTROYED: 'ECONNRESET',
  UND_ERR_CLOSED: 'ECONNRESET',
};

function withSystemCode(error: Error & SdkError, httpStatusCode: number | undefined): Error {
  const code = systemCodes[error.code ?? ''];
  if (code !== undefined) return withCode(error.message, code, error);
  if (httpStatusCode === undefined || error.$metadata) return error;
  return Object.assign(error, { $metadata: { httpStatusCode } });
}
