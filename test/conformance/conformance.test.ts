/** Runs every row of the conformance tables against one real broker, side by side. */
import { afterAll, beforeAll, describe, test } from 'vitest';
import { NotOffered, type TestBroker } from '../support/broker.js';
import { startTestBroker } from '../support/start-broker.js';
import { peerDeviation } from './peer.js';
import { tables } from './tables.js';
import { Trial } from './trial.js';

let broker: TestBroker;
beforeAll(async () => {
  broker = await startTestBroker();
}, 60_000);
afterAll(() => broker?.close());

const againstPeer = process.env['CONFORMANCE_TARGET'] === 'mosquitto';

for (const table of tables) {
  describe.concurrent(table.title, () => {
    for (const row of table.rows) {
      const { test: run, id } = row;
      if (!run) continue;
      const skip = againstPeer && peerDeviation(table.key, id) !== undefined;
      test.skipIf(skip).concurrent(
        `${id} ${row.says}`,
        async (context) => {
          const trial = new Trial(broker, table.level);
          try {
            await run(trial);
          } catch (error) {
            if (error instanceof NotOffered) context.skip();
            throw error;
          } finally {
            trial.end();
          }
        },
        20_000,
      );
    }
  });
}
