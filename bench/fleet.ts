/** The brokers of one scenario: started when first needed, kept over the rounds, started again after they died. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RunningBroker, StartOptions } from './brokers/broker.js';
import { brokers } from './brokers/brokers.js';

interface Member {
  readonly broker: RunningBroker;
  readonly folder: string;
}

export class Fleet {
  readonly #options: Omit<StartOptions, 'folder'>;
  readonly #members = new Map<string, Member>();

  constructor(options: Omit<StartOptions, 'folder'>) {
    this.#options = options;
  }

  async take(name: string): Promise<RunningBroker> {
    const running = this.#members.get(name);
    if (running && running.broker.died() === undefined) return running.broker;
    await this.stop(name);
    const folder = mkdtempSync(join(tmpdir(), `shoal-bench-${name}-`));
    try {
      const broker = await brokers[name]!.start({ ...this.#options, folder });
      this.#members.set(name, { broker, folder });
      return broker;
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  async stop(name: string): Promise<void> {
    const member = this.#members.get(name);
    if (!member) return;
    this.#members.delete(name);
    await member.broker.stop();
    rmSync(member.folder, { recursive: true, force: true });
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.#members.keys()].map((name) => this.stop(name)));
  }
}
