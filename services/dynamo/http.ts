/**
 * One signed HTTP request to DynamoDB and its answer. The SDK takes 300 us of processor time a call, most of it for what a
 * broker does not need: middleware for every service, a model of every action. An HTTP client for everybody takes 65 to 110.
 * This takes 30, and half of them are the system's. What is hard to get right stays the SDK's: where DynamoDB is, and
 * credentials that are found and renewed; and it is what a test compares this with.
 *
 * Errors have the shape of the SDK's (`SdkError`), so that `errors.ts` need not know who made the call.
 */
import { type Answer, headerOf } from './answer.js';
import { Link } from './link.js';
import type { SdkError } from './set-up.js';
import { type Credentials, Signer } from './signature.js';

export interface HttpOptions {
  readonly region: string;
  /** Asked before the first request. */
  readonly endpoint: () => Promise<URL>;
  /** Asked once a second at most; remembers what it has found for as long as it is good. */
  readonly credentials: () => Promise<Credentials>;
  /** Authorities besides those that Node knows, or none of them. */
  readonly ca?: Buffer;
}

interface Place {
  readonly url: URL;
  readonly host: string;
  readonly path: string;
}

/** How often connections that nobody has used for long are looked for. */
const sweepEveryMs = 10_000;
/** Whoever finds them renews them minutes before they end. */
const credentialsKeptMs = 1000;
/** Above it a clock is corrected; DynamoDB refuses what is 15 minutes off. */
const skewMsMax = 5 * 60_000;

export class Http {
  readonly #options: HttpOptions;
  readonly #signer: Signer;
  #place: Place | undefined;
  #looking: Promise<Place> | undefined;
  readonly #links = new Set<Link>();
  /** The one that was used last is used next, so that the others have their end. */
  readonly #idle: Link[] = [];
  /** Of TLS. */
  #session: Buffer | undefined;
  #credentials: Credentials | undefined;
  #credentialsUntilMs = 0;
  #sweep: NodeJS.Timeout | undefined;
  /** For the requests that take too long: at the earliest time at which one did when it was set. */
  #look: NodeJS.Timeout | undefined;
  #lookAtMs = Infinity;
  #isClosed = false;
  /** By how much the clock of this machine is behind. */
  #skewMs = 0;

  constructor(options: HttpOptions) {
    this.#options = options;
    this.#signer = new Signer(options.region);
  }

  /**
   * Rejects with an `SdkError`, by the name of AbortError when it takes longer than `withinMs`, connecting included. As many
   * connections are open as there are calls at once: who calls has the bound. `body`: JSON. `read`: of the JSON of the answer.
   */
  async send<T>(action: string, body: string, withinMs: number, read?: (text: string) => T): Promise<T> {
    const place = this.#place ?? (await this.#looked());
    const nowMs = performance.now();
    const credentials = nowMs < this.#credentialsUntilMs ? this.#credentials! : await this.#askedCredentials(nowMs);
    if (this.#isClosed) throw closed();
    const unsigned = { host: place.host, path: place.path, target: `DynamoDB_20120810.${action}`, body };
    const headers = this.#signer.sign(unsigned, credentials, Date.now() + this.#skewMs);
    const bytes = Buffer.byteLength(body);
    const text = `POST ${place.path} HTTP/1.1\r\n${headers}content-length: ${bytes}\r\n\r\n${body}`;
    // As a rule all of it is ASCII, and is copied as it is.
    const answer = await this.#exchange(place, text, bytes === body.length ? 'latin1' : 'utf8', withinMs);
    if (answer.status !== 200) throw this.#refusal(answer);
    return told(answer, read) as T;
  }

  async #askedCredentials(nowMs: number): Promise<Credentials> {
    const credentials = await this.#options.credentials();
    this.#credentials = credentials;
    this.#credentialsUntilMs = nowMs + credentialsKeptMs;
    return credentials;
  }

  #exchange(place: Place, text: string, encoding: BufferEncoding, withinMs: number): Promise<Answer> {
    const nowMs = performance.now();
    const link = this.#take(place, nowMs);
    link.dueAtMs = nowMs + Math.max(withinMs, 0);
    if (link.dueAtMs < this.#lookAtMs) this.#lookIn(link.dueAtMs, nowMs);
    return link.request(text, encoding, () => {
      link.dueAtMs = Infinity;
      if (link.isOpen) this.#giveBack(link);
    });
  }

  /** One timer for all that is under way; an answer leaves it as it is. */
  #lookIn(atMs: number, nowMs: number): void {
    clearTimeout(this.#look);
    this.#lookAtMs = atMs;
    // The socket keeps the process alive. A timer counts from whole milliseconds.
    this.#look = setTimeout(() => this.#endLate(), Math.ceil(atMs - nowMs) + 1).unref();
  }

  #endLate(): void {
    const nowMs = performance.now();
    for (const link of [...this.#links]) if (link.dueAtMs <= nowMs) link.destroy(timedOut());
    let nextMs = Infinity;
    for (const { dueAtMs } of this.#links) nextMs = Math.min(nextMs, dueAtMs);
    this.#lookAtMs = Infinity;
    if (nextMs < Infinity) this.#lookIn(nextMs, nowMs);
  }

  #take({ url }: Place, nowMs: number): Link {
    for (let link = this.#idle.pop(); link; link = this.#idle.pop()) {
      if (link.isOpen && link.idleUntilMs > nowMs) return link;
      link.destroy();
    }
    const link = new Link({
      url,
      ca: this.#options.ca,
      session: this.#session,
      onSession: (session) => (this.#session = session),
      onClosed: (gone) => this.#links.delete(gone),
    });
    this.#links.add(link);
    return link;
  }

  #giveBack(link: Link): void {
    this.#idle.push(link);
    this.#sweep ??= setInterval(() => this.#closeIdle(), sweepEveryMs).unref();
  }

  /** They stand in the order in which they were used. */
  #closeIdle(): void {
    const nowMs = performance.now();
    for (const link of this.#idle.splice(0))
      if (link.isOpen && link.idleUntilMs > nowMs) this.#idle.push(link);
      else link.destroy();
    if (this.#idle.length > 0) return;
    clearInterval(this.#sweep);
    this.#sweep = undefined;
  }

  /** One for all. When the endpoint could not be found, which may want credentials, the next call looks for it again. */
  #looked(): Promise<Place> {
    if (!this.#looking) {
      const looking = this.#options.endpoint().then((url) => {
        return (this.#place = { url, host: url.host, path: url.pathname });
      });
      looking.catch(() => (this.#looking = undefined));
      this.#looking = looking;
    }
    return this.#looking;
  }

  #refusal({ status, head, body }: Answer): Error {
    const said = told({ status, body }) as {
      __type?: string;
      message?: string;
      Message?: string;
      Item?: Record<string, unknown>;
    } | null;
    const type = said?.__type ?? headerOf(head, 'x-amzn-errortype');
    const name = typeof type === 'string' ? type.replace(/^.*#/, '').replace(/:.*$/, '') : 'UnknownError';
    if (/RequestTimeTooSkewed|InvalidSignature|RequestExpired|SignatureDoesNotMatch/.test(name))
      this.#correctClock(headerOf(head, 'date'));
    if (name !== 'ConditionalCheckFailedException') this.#credentialsUntilMs = 0; // They may be others by now.
    return Object.assign(new Error(said?.message ?? said?.Message ?? name), {
      name,
      ...(said?.Item && { Item: said.Item }),
      $metadata: { httpStatusCode: status, requestId: headerOf(head, 'x-amzn-requestid') },
    });
  }

  #correctClock(date: string | undefined): void {
    const aheadMs = Date.parse(date ?? '') - Date.now();
    if (Math.abs(aheadMs - this.#skewMs) > skewMsMax) this.#skewMs = aheadMs;
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#sweep);
    clearTimeout(this.#look);
    for (const link of this.#links) link.destroy(closed());
  }
}

/** Throws SyntaxError, with the status, for what is no JSON: something else answers there. */
function told(
  { status, body }: Pick<Answer, 'status' | 'body'>,
  read: (text: string) => unknown = JSON.parse,
): unknown {
  try {
    return body === '' ? null : read(body);
  } catch (error) {
    throw Object.assign(error as Error & SdkError, { $metadata: { httpStatusCode: status } });
  }
}

const timedOut = (): Error => Object.assign(new Error('no answer in time'), { name: 'AbortError' });
const closed = (): Error => Object.assign(new Error('the client has been closed'), { code: 'ECONNRESET' });
