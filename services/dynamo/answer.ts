/**
 * An answer of HTTP/1.1, put together from what a socket brings. As much of the protocol as a server uses that is asked with
 * POST, one request at a time: a status, a length or chunks, and whether the connection goes on. Pure; `link.ts` has the socket.
 */

export interface Answer {
  readonly status: number;
  /** Status line and headers as they came, each with its line's end. */
  readonly head: string;
  readonly body: string;
  /** The connection takes another request. */
  readonly goesOn: boolean;
}

/** DynamoDB's has 300 bytes. */
const headBytesMax = 1 << 14;
/** 16 MB of items, whose bytes take a third more in base64, and text up to six times as much in JSON. */
const bodyBytesMax = 1 << 27;
/** With its extensions. */
const chunkLineBytesMax = 256;

/** What has come is no answer of HTTP. The code is of the family of Node's own parser. */
export class NotHttp extends Error {
  readonly code = 'HPE_INVALID_ANSWER';
}

/** A header's value, without the spaces around it; undefined when it is not there. `name`: in lower case. */
export function headerOf(head: string, name: string): string | undefined {
  return new RegExp(`\r\n${name}:[ \t]*(.*?)[ \t]*\r\n`, 'i').exec(head)?.[1];
}

const statusLine = /^HTTP\/1\.([01]) ([2-5]\d\d)[ \r]/;
const contentLength = /\r\ncontent-length:[ \t]*(\d{1,12})[ \t]*\r\n/i;
const transferEncoding = /\r\ntransfer-encoding:/i;
const chunked = /\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n/i;
const closes = /\r\nconnection:[ \t]*close[ \t]*\r\n/i;

export class AnswerReader {
  /** Of a head that is not complete. */
  #early: Buffer | undefined;
  #head: string | undefined;
  #status = 0;
  #goesOn = false;
  #chunks: ChunkReader | undefined;
  /** Bytes of the body that have not come; with chunks it is not known. */
  #missing = 0;
  #pieces: Buffer[] = [];

  /** The answer, when it is complete with these bytes, which are not kept. Throws `NotHttp`, and is of no use then. */
  read(bytes: Buffer): Answer | undefined {
    if (this.#head !== undefined) return this.#takeBody(bytes);
    if (!this.#early) {
      // As a rule all of it comes in one piece and is ASCII: made text of once.
      const text = bytes.toString('utf8');
      const end = text.length === bytes.length ? text.indexOf('\r\n\r\n') : -1;
      if (end >= 0 && end <= headBytesMax) {
        this.#begin(text.slice(0, end + 2));
        if (!this.#chunks && text.length - end - 4 === this.#missing) return this.#whole(text.slice(end + 4));
        return this.#takeBody(bytes.subarray(end + 4));
      }
    }
    const all = this.#early ? Buffer.concat([this.#early, bytes]) : bytes;
    const end = all.indexOf('\r\n\r\n');
    if ((end < 0 ? all.length : end) > headBytesMax) throw new NotHttp('the head of an answer is too long');
    if (end >= 0) {
      this.#early = undefined;
      this.#begin(all.toString('latin1', 0, end + 2));
      return this.#takeBody(all.subarray(end + 4));
    }
    if (!couldBegin(all)) throw new NotHttp('no status line');
    this.#early = Buffer.from(all);
    return undefined;
  }

  #begin(head: string): void {
    const line = statusLine.exec(head);
    if (!line) throw new NotHttp('no status line');
    this.#head = head;
    this.#status = Number(line[2]);
    this.#goesOn = line[1] === '1' && !closes.test(head);
    if (transferEncoding.test(head)) {
      if (!chunked.test(head)) throw new NotHttp('an unexpected encoding');
      this.#chunks = new ChunkReader();
      return;
    }
    const length = contentLength.exec(head)?.[1];
    if (length === undefined) throw new NotHttp('an answer without a length');
    this.#missing = Number(length);
    if (this.#missing > bodyBytesMax) throw new NotHttp('an answer that is too long');
  }

  #takeBody(bytes: Buffer): Answer | undefined {
    if (this.#chunks) {
      if (!this.#chunks.read(bytes)) return undefined;
      return this.#whole(Buffer.concat(this.#chunks.pieces).toString('utf8'));
    }
    if (bytes.length > this.#missing) throw new NotHttp('more bytes than announced');
    this.#missing -= bytes.length;
    if (this.#missing === 0 && this.#pieces.length === 0) return this.#whole(bytes.toString('utf8'));
    if (bytes.length > 0) this.#pieces.push(Buffer.from(bytes));
    return this.#missing === 0 ? this.#whole(Buffer.concat(this.#pieces).toString('utf8')) : undefined;
  }

  #whole(body: string): Answer {
    const answer = { status: this.#status, head: this.#head!, body, goesOn: this.#goesOn };
    this.#head = undefined;
    this.#chunks = undefined;
    this.#pieces = [];
    return answer;
  }
}

const beginning = 'HTTP/1.';
const couldBegin = (bytes: Buffer): boolean =>
  beginning.startsWith(bytes.toString('latin1', 0, Math.min(bytes.length, beginning.length)));

/** A body in chunks (RFC 9112, section 7.1). Trailers are passed over. */
class ChunkReader {
  readonly pieces: Buffer[] = [];
  #length = 0;
  #state: 'size' | 'data' | 'end of data' | 'trailer' = 'size';
  #line = '';
  #missing = 0;

  /** Whether it is complete. */
  read(bytes: Buffer): boolean {
    for (let at = 0; at < bytes.length;) {
      if (this.#state === 'data') {
        const piece = bytes.subarray(at, at + this.#missing);
        this.pieces.push(Buffer.from(piece));
        at += piece.length;
        this.#missing -= piece.length;
        if (this.#missing === 0) this.#state = 'end of data';
        continue;
      }
      const end = bytes.indexOf('\n', at);
      this.#line += bytes.toString('latin1', at, end < 0 ? bytes.length : end + 1);
      if (this.#line.length > chunkLineBytesMax) throw new NotHttp('a line between chunks is too long');
      if (end < 0) return false;
      at = end + 1;
      if (!this.#line.endsWith('\r\n')) throw new NotHttp('a line between chunks has no end');
      const isLast = this.#takeLine(this.#line.slice(0, -2));
      this.#line = '';
      if (!isLast) continue;
      if (at < bytes.length) throw new NotHttp('more bytes than announced');
      return true;
    }
    return false;
  }

  /** Whether it was the last line of all. */
  #takeLine(line: string): boolean {
    if (this.#state === 'trailer') return line === '';
    if (this.#state === 'end of data') {
      if (line !== '') throw new NotHttp('a chunk is longer than announced');
      this.#state = 'size';
      return false;
    }
    const size = /^([\da-f]{1,8})[ \t]*(;.*)?$/i.exec(line)?.[1];
    if (size === undefined) throw new NotHttp('a chunk without a size');
    this.#missing = Number.parseInt(size, 16);
    this.#length += this.#missing;
    if (this.#length > bodyBytesMax) throw new NotHttp('an answer that is too long');
    this.#state = this.#missing === 0 ? 'trailer' : 'data';
    return false;
  }
}
