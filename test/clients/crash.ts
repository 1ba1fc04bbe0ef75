/** A SIGKILL of the broker under clients with stored sessions: what was acknowledged is delivered, both ways. */
import { expect } from 'vitest';
import { until } from '../support/until.js';
import type { Peer } from './peer.js';
import { afterCrashMs, type ClientProgram } from './program.js';

const payloads = Array.from({ length: 30 }, (_, i) => `message-${i}`);
const beforeCrash = 10;

/** One client's part. */
export class Survivor {
  /** How many of its messages are acknowledged. */
  acknowledged = 0;
  readonly #program: ClientProgram;
  readonly #peer: Peer;
  readonly #root: string;

  constructor(program: ClientProgram, peer: Peer, root: string) {
    this.#program = program;
    this.#peer = peer;
    this.#root = root;
  }

  get isUnderWay(): boolean {
    return this.acknowledged >= beforeCrash;
  }

  /** Ends when all that was acknowledged has arrived. */
  async talk(): Promise<void> {
    const heard = await this.#peer.listen(`${this.#root}/out`);
    await this.#program.connected();
    await this.#program.subscribe(`${this.#root}/in`, 1);
    const fromHere = async (): Promise<void> => {
      for (const payload of payloads) {
        await this.#program.publishAnyhow(`${this.#root}/out`, payload);
        this.acknowledged++;
      }
    };
    const toHere = async (): Promise<void> => {
      for (const payload of payloads) await this.#peer.publish(`${this.#root}/in`, payload, 1);
    };
    await Promise.all([fromHere(), toHere()]);
    await this.#program.receivedAll(`${this.#root}/in`, payloads);
    // QoS 1: some come twice.
    const distinct = (): string[] => [...new Set(heard.map((line) => line.slice(line.lastIndexOf(' ') + 1)))];
    await until(() => distinct().length === payloads.length, 'all messages of the program', afterCrashMs);
    expect(distinct().sort()).toEqual([...payloads].sort());
  }
}
