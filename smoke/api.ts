/** The tenant API as the smoke test calls it, with the authority of `--ca` trusted as well. Called by `checks.ts`. */
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { explained, SmokeFailure } from './failure.js';
import type { Options } from './options.js';
import { authorities } from './trust.js';

export interface Answer {
  readonly status: number;
  readonly retryAfterSeconds: number;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface Call {
  readonly method: string;
  readonly path: string;
  readonly key?: string | undefined;
  readonly json?: object;
}

export class Api {
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
  }

  /** Throws SmokeFailure when there is no answer, or none of a tenant API. */
  async call({ method, path, key, json }: Call): Promise<Answer> {
    const url = new URL(`${this.#options.api}${path}`);
    const body = json === undefined ? undefined : JSON.stringify(json);
    const { status, type, retryAfter, text } = await this.#send(url, method, body, key).catch((error: unknown) => {
      const caFile = this.#options.ca?.file;
      throw explained(error, { where: `the API at ${url.host}`, caFile });
    });
    if (text === '') return { status, retryAfterSeconds: retryAfter, body: {} };
    if (!/[/+]json\b/.test(type)) throw this.#notOurs(`${method} ${path} answered ${status} with ${type || 'no type'}`);
    return { status, retryAfterSeconds: retryAfter, body: JSON.parse(text) as Answer['body'] };
  }

  /** As `call`, for a call that can only succeed; otherwise the failure tells what the API said. */
  async expect(status: number, call: Call): Promise<Answer['body']> {
    const answer = await this.call(call);
    if (answer.status === status) return answer.body;
    throw new SmokeFailure(`${call.method} ${call.path} answered ${said(answer)}`);
  }

  #notOurs(what: string): SmokeFailure {
    return new SmokeFailure(`${what}: ${this.#options.api} is not a Shoal tenant API; check --api`);
  }

  #send(
    url: URL,
    method: string,
    body: string | undefined,
    key: string | undefined,
  ): Promise<{ status: number; type: string; retryAfter: number; text: string }> {
    const headers = {
      ...(key !== undefined && { authorization: `Bearer ${key}` }),
      ...(body !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
    };
    const { stepTimeoutMs } = this.#options;
    return new Promise((resolve, reject) => {
      const options = { method, headers, agent: false, timeout: stepTimeoutMs } as const;
      const request =
        url.protocol === 'http:'
          ? requestHttp(url, options)
          : requestHttps(url, { ...options, ca: authorities(this.#options.ca) });
      request.on('error', reject);
      request.on('timeout', () => request.destroy(Object.assign(new Error('timed out'), { code: 'ETIMEDOUT' })));
      request.on('response', (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('error', reject);
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            type: response.headers['content-type'] ?? '',
            retryAfter: Number(response.headers['retry-after'] ?? 1),
            text,
          }),
        );
      });
      request.end(body);
    });
  }
}

/** `401 unauthenticated (A valid API key is required)`. */
export function said({ status, body }: Answer): string {
  const { code, title, detail = title } = body as Readonly<Record<string, string | undefined>>;
  return `${status}${code === undefined ? '' : ` ${code}`}${detail === undefined ? '' : ` (${detail})`}`;
}
