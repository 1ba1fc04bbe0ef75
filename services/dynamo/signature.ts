/**
 * AWS Signature Version 4 of a request to DynamoDB (AWS, "Create a signed AWS API request"). All requests have one form, so
 * the canonical request is a template, and the signing key, which is good for a day, is made once a day.
 */
import { createHmac, createSecretKey, hash, type KeyObject } from 'node:crypto';

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

export interface Unsigned {
  /** With the port, unless it is the protocol's own. */
  readonly host: string;
  readonly path: string;
  /** `DynamoDB_20120810.PutItem`. */
  readonly target: string;
  readonly body: string;
}

export const contentType = 'application/x-amz-json-1.0';

/** What is the same for a second, and for a day. */
interface Moment {
  readonly second: number;
  /** `20261127T012345Z`. */
  readonly time: string;
  readonly scope: string;
}

export class Signer {
  readonly #region: string;
  #moment: Moment = { second: NaN, time: '', scope: '' };
  /** Not as bytes: Node would make a key of them with each signature, which takes longer than to sign. */
  #key: { readonly secret: string; readonly scope: string; readonly key: KeyObject } | undefined;

  constructor(region: string) {
    this.#region = region;
  }

  /** The headers to send, `host` among them, each with its line's end. */
  sign({ host, path, target, body }: Unsigned, credentials: Credentials, nowMs: number): string {
    const { accessKeyId, secretAccessKey, sessionToken } = credentials;
    const { time, scope } = this.#momentOf(nowMs);
    const token = sessionToken === undefined ? '' : `x-amz-security-token:${sessionToken}\n`;
    const signed = sessionToken === undefined ? signedNames : signedNamesWithToken;
    const canonical =
      `POST\n${path}\n\ncontent-type:${contentType}\nhost:${host}\nx-amz-date:${time}\n${token}x-amz-target:${target}\n` +
      `\n${signed}\n${hash('sha256', body)}`;
    const toSign = `AWS4-HMAC-SHA256\n${time}\n${scope}\n${hash('sha256', canonical)}`;
    const signature = createHmac('sha256', this.#keyOf(secretAccessKey, scope)).update(toSign).digest('hex');
    return (
      `host: ${host}\r\ncontent-type: ${contentType}\r\nx-amz-date: ${time}\r\nx-amz-target: ${target}\r\n` +
      (sessionToken === undefined ? '' : `x-amz-security-token: ${sessionToken}\r\n`) +
      `authorization: AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${signed}, Signature=${signature}\r\n`
    );
  }

  #momentOf(nowMs: number): Moment {
    const second = Math.floor(nowMs / 1000);
    if (second !== this.#moment.second) {
      const time = new Date(nowMs).toISOString().replaceAll(/[-:]|\.\d+/g, '');
      this.#moment = { second, time, scope: `${time.slice(0, 8)}/${this.#region}/dynamodb/aws4_request` };
    }
    return this.#moment;
  }

  #keyOf(secret: string, scope: string): KeyObject {
    if (this.#key?.secret !== secret || this.#key.scope !== scope) {
      let bytes: Buffer | string = `AWS4${secret}`;
      for (const part of scope.split('/')) bytes = createHmac('sha256', bytes).update(part).digest();
      this.#key = { secret, scope, key: createSecretKey(bytes as Buffer) };
    }
    return this.#key.key;
  }
}

const signedNames = 'content-type;host;x-amz-date;x-amz-target';
const signedNamesWithToken = 'content-type;host;x-amz-date;x-amz-security-token;x-amz-target';
