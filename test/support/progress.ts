/** Says now and then how far a run of the tests is: of a run of minutes on a terminal, in a pipe and in a log of CI. */
import type { Reporter, TestModule, TestSpecification } from 'vitest/node';

const everyMs = 10_000;

export class Progress implements Reporter {
  #files = 0;
  #done = 0;
  #startMs = 0;
  #saidMs = 0;

  onTestRunStart(specifications: readonly TestSpecification[]): void {
    this.#files = specifications.length;
    this.#done = 0;
    this.#startMs = this.#saidMs = Date.now();
  }

  onTestModuleEnd(_module: TestModule): void {
    this.#done++;
    const now = Date.now();
    if (now - this.#saidMs < everyMs) return;
    this.#saidMs = now;
    const seconds = Math.round((now - this.#startMs) / 1000);
    const time = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
    process.stdout.write(` ${this.#done} of ${this.#files} files, ${time} min\n`);
  }
}
