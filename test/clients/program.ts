/**
 * One run of a client program: a process that is told what to do and tells what happens, a line each. Its task is in the
 * environment (`CLIENT_URL`, `CLIENT_VERSION`, …: see `Task`); it connects at once and says `connected`, or `refused` and
 * what its library tells a user.
 *
 *     sub QOS TOPIC                     → subscribed
 *     pub QOS RETAIN TOPIC PAYLOAD      → published PAYLOAD, when acknowledged; or failed PAYLOAD
 *     burst COUNT TOPIC                 → the same for the payloads 0, 1, … of QoS 1, none waiting for another
 *     end                               leaves with DISCONNECT
 *     (whenever one comes)              message QOS RETAIN TOPIC PAYLOAD
 *
 * After it has once been in, it connects again by itself, with what its library has for that.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Endpoints } from '../../services/local/endpoints.js';
import type { Credential } from '../support/broker.js';
import { until } from '../support/until.js';

/** 3 is MQTT 3.1, 4 is 3.1.1: the protocol level that CONNECT carries. */
export type Version = 3 | 4 | 5;
export type Transport = 'mqtt' | 'mqtts' | 'ws' | 'wss';

export interface Task {
  readonly endpoints: Endpoints;
  readonly transport: Transport;
  readonly version: Version;
  readonly account: Credential;
  readonly clientId: string;
  /** Whether the session outlives the connection, for an hour. */
  readonly stored: boolean;
  /** Of a will of QoS 1 that says `gone`. */
  readonly willTopic: string;
}

/** The end of a lease, the start of a broker, and what a client waits before it tries again. */
export const afterCrashMs = 40_000;

export class ClientProgram {
  /** What came, as `QOS RETAIN TOPIC PAYLOAD`. */
  readonly messages: string[] = [];
  readonly published: string[] = [];
  readonly failed: string[] = [];
  /** What a user reads who is not let in. */
  refusal: string | undefined;
  #connected = false;
  #subscribed = 0;
  #stderr = '';
  #ended = false;
  readonly #child: ChildProcess;

  constructor(command: readonly string[], task: Task) {
    const { endpoints, transport, account } = task;
    const [program = '', ...args] = command;
    const folder = mkdtempSync(join(tmpdir(), 'shoal-client-'));
    // A group of its own, so that whatever it has started ends with it. Its files go with it, too.
    this.#child = spawn(program, args, {
      cwd: folder,
      detached: true,
      stdio: 'pipe',
      env: {
        ...process.env,
        CLIENT_URL: endpoints[transport].url,
        CLIENT_TRANSPORT: transport,
        CLIENT_HOST: endpoints.host,
        CLIENT_PORT: String(endpoints[transport].port),
        CLIENT_CA_FILE: endpoints.caFile,
        CLIENT_VERSION: String(task.version),
        CLIENT_USERNAME: account.username,
        CLIENT_PASSWORD: account.password,
        CLIENT_ID: task.clientId,
        CLIENT_STORED: task.stored ? '1' : '0',
        CLIENT_WILL_TOPIC: task.willTopic,
      },
    });
    createInterface({ input: this.#child.stdout! }).on('line', (line) => this.#hear(line));
    this.#child.stderr!.on('data', (data) => (this.#stderr += String(data)));
    this.#child.stdin!.on('error', () => undefined); // It has ended, which is told elsewhere.
    this.#child.once('error', (error) => (this.#stderr += error.message));
    this.#child.once('close', () => {
      this.#ended = true;
      rmSync(folder, { recursive: true, force: true });
    });
  }

  async connected(): Promise<void> {
    await this.#wait(() => this.#connected, 'to connect');
  }

  async subscribe(topic: string, qos: number): Promise<void> {
    const before = this.#subscribed;
    this.#order('sub', qos, topic);
    await this.#wait(() => this.#subscribed > before, `to be subscribed to ${topic}`);
  }

  publish(topic: string, payload: string, qos: number, retain = false): void {
    this.#order('pub', qos, retain ? 1 : 0, topic, payload);
  }

  /** Payloads 0, 1, …, QoS 1. */
  publishAtOnce(count: number, topic: string): void {
    this.#order('burst', count, topic);
  }

  async hasPublished(payload: string): Promise<void> {
    await this.#wait(() => this.published.includes(payload), `the acknowledgement of ${payload}`);
  }

  /** QoS 1, as often as it fails, until it is acknowledged: also while there is no broker. */
  async publishAnyhow(topic: string, payload: string): Promise<void> {
    for (let failures = -1; failures < this.#failures(payload);) {
      failures = this.#failures(payload);
      this.publish(topic, payload, 1);
      const isAnswered = (): boolean => this.published.includes(payload) || this.#failures(payload) > failures;
      await this.#wait(isAnswered, `an answer to ${payload}`, afterCrashMs);
    }
  }

  /** Waits until each of them has come, in whatever order and how often. */
  async receivedAll(topic: string, payloads: readonly string[]): Promise<void> {
    const isThere = (payload: string): boolean => this.messages.some((line) => line.endsWith(` ${topic} ${payload}`));
    await this.#wait(() => payloads.every(isThere), `all messages of ${topic}`, afterCrashMs);
  }

  /** Waits for that many of them. */
  async received(count: number, what: string): Promise<void> {
    await this.#wait(() => this.messages.length >= count, `${count} messages (${what})`);
  }

  /** What it says when it is not let in. */
  async refused(): Promise<string> {
    await until(() => this.refusal !== undefined || this.#ended, 'a refusal');
    if (this.refusal === undefined) throw new Error(`it ended without a word: ${this.#stderr}`);
    return this.refusal;
  }

  end(): void {
    this.#order('end');
  }

  /** Without a word to the broker. */
  kill(): void {
    if (this.#child.pid === undefined) return;
    try {
      process.kill(-this.#child.pid, 'SIGKILL');
    } catch {
      // It has ended.
    }
  }

  #failures(payload: string): number {
    return this.failed.filter((failed) => failed === payload).length;
  }

  #order(...words: (string | number)[]): void {
    this.#child.stdin!.write(`${words.join(' ')}\n`);
  }

  #hear(line: string): void {
    const space = line.indexOf(' ');
    const [word, rest] = space < 0 ? [line, ''] : [line.slice(0, space), line.slice(space + 1)];
    if (word === 'connected') this.#connected = true;
    else if (word === 'subscribed') this.#subscribed++;
    else if (word === 'message') this.messages.push(rest);
    else if (word === 'published') this.published.push(rest);
    else if (word === 'failed') this.failed.push(rest);
    else if (word === 'refused') this.refusal = rest;
  }

  /** Fails at once, with all that is known, when the program cannot do it any more. */
  async #wait(condition: () => boolean, what: string, boundMs?: number): Promise<void> {
    const isOver = (): boolean => this.#ended || this.refusal !== undefined;
    const told = (): string =>
      [`refused: ${this.refusal}`, `ended: ${this.#ended}`, `messages: ${this.messages.length}`, this.#stderr].join(
        '; ',
      );
    try {
      await until(() => condition() || isOver(), what, boundMs);
    } catch (error) {
      throw new Error(`waited for ${what}; ${told()}`, { cause: error });
    }
    if (!condition()) throw new Error(`waited for ${what}; ${told()}`);
  }
}
