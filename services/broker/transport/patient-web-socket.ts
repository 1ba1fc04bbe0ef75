import { WebSocket } from 'ws';

/**
 * Its peer's close frame is answered when we say so, and not at once: a frame after the answer is none any more, and what
 * came before the close frame has yet to be answered. `ws` calls `close` to answer.
 */
export class PatientWebSocket extends WebSocket {
  onPeerClose: (() => void) | undefined;
  #answer: [code?: number, reason?: string | Buffer] | undefined;

  override close(...answer: [code?: number, reason?: string | Buffer]): void {
    if (this.readyState !== this.OPEN || this.#answer) return super.close(...answer);
    this.#answer = answer;
    // `ws` closes for a frame that is none as well, and says so right after.
    queueMicrotask(() => this.onPeerClose?.());
  }

  /** Our own close frame, or the answer to the peer's. */
  finish(code: number, reason?: string): void {
    this.#answer ??= reason === undefined ? [code] : [code, reason];
    super.close(...this.#answer);
  }
}
