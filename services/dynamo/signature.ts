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

export class Signer {
  readonly #region: string;
  #key: { readonly secret: string; readonly day: string; readonly bytes: Buffer } | undefined;

  constructor(region: string) {
    this.#region = region;
  }

  /** The headers to send, `host` among them. */
  sign({ host, path, target, body }: Unsigned, credentials: Credentials, nowMs: number): Record<string, string> {
    const { accessKeyId, secretAccessKey, sessionToken } = credentials;
    const time = new Date(nowMs).toISOString().replaceAll(/[-:]|\.\d+/g, '');
    const day = time.slice(0, 8);
    const scope = `${day}/${this.#region}/dynamodb/aws4_request`;
    const signed = `content-type;host;x-amz-date;${sessionToken === undefined ? '' : 'x-amz-security-token;'}x-amz-target`;
    const token = sessionToken === undefined ? '' : `x-amz-security-token:${sessionToken}\n`;
    const canonical =
      `POST\n${path}\n\ncontent-type:${contentType}\nhost:${host}\nx-amz-date:${time}\n${token}x-amz-target:${target}\n` +
      `\n${signed}\n${hash('sha256', body)}`;
    const toSign = `AWS4-HMAC-SHA256\n${time}\n${scope}\n${hash('sha256', canonical)}`;
    const signature = createHmac('sha256', this.#keyOf(secretAccessKey, day)).update(toSign).digest('hex');
    return {
      host,
      'content-type': contentType,
      'x-amz-date': time,
      'x-amz-target': target,
      ...(sessionToken !== undefined && { 'x-amz-security-token': sessionToken }),
      authorization: `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${signed}, Signature=${signature}`,
    };
  }

  #keyOf(secret: string, day: string): Buffer {
    if (this.#key?.secret !== secret || this.#key.day !== day) {
      let bytes: Buffer | string = `AWS4${secret}`;
      for (const part of [day, this.#region, 'dynamodb', 'aws4_request'])
        bytes = createHmac('sha256', bytes).update(part).digest();
      this.#key = { secret, day, bytes: bytes as Buffer };
    }
    return this.#key.bytes;
  }
}
