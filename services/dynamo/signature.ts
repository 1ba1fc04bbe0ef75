/**
 * AWS Signature Version 4 of a request to DynamoDB (AWS, "Create a signed AWS API request"). All requests have one form, so
 * the canonical request is a template, and the signing key, which is good for a day, is made once a day.
 */
import { createHmac, hash } from 'node:crypto';

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
  #key: { readonly secret: string; readonly scope: string; readonly hmac: Hmac } | undefined;

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
    const signature = this.#keyOf(secretAccessKey, scope).hexOf(toSign);
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

  #keyOf(secret: string, scope: string): Hmac {
    if (this.#key?.secret !== secret || this.#key.scope !== scope) {
      let bytes: Buffer | string = `AWS4${secret}`;
      for (const part of scope.split('/')) bytes = createHmac('sha256', bytes).update(part).digest();
      this.#key = { secret, scope, hmac: new Hmac(bytes as Buffer) };
    }
    return this.#key.hmac;
  }
}

const blockBytes = 64;
const digestBytes = 32;
/** Ours has 150 bytes and the length of the region's name. */
const messageBytesMax = 1 << 10;

/**
 * HMAC-SHA256 (RFC 2104) of text in ASCII, with two hashes at once: Node's own Hmac makes and drops three objects each time, which
 * takes twice as long as what it reckons.
 */
class Hmac {
  readonly #inner = Buffer.alloc(blockBytes + messageBytesMax);
  readonly #outer = Buffer.alloc(blockBytes + digestBytes);

  /** `key`: no longer than a block. */
  constructor(key: Buffer) {
    for (let i = 0; i < blockBytes; i++) {
      this.#inner[i] = (key[i] ?? 0) ^ 0x36;
      this.#outer[i] = (key[i] ?? 0) ^ 0x5c;
    }
  }

  hexOf(message: string): string {
    if (message.length > messageBytesMax) throw new RangeError('too long to be signed');
    const end = blockBytes + this.#inner.write(message, blockBytes, 'latin1');
    this.#outer.write(hash('sha256', this.#inner.subarray(0, end), 'binary'), blockBytes, 'latin1');
    return hash('sha256', this.#outer, 'hex');
  }
}

const signedNames = 'content-type;host;x-amz-date;x-amz-target';
const signedNamesWithToken = 'content-type;host;x-amz-date;x-amz-security-token;x-amz-target';
