/** The database of the benches (`bench/database`), in this process. */
import { Database } from '../../bench/database/server.js';
import { embeddedDynamo, type EmbeddedDynamo } from './embedded.js';

export async function startFastDatabase(): Promise<EmbeddedDynamo> {
  const database = await Database.listen();
  return embeddedDynamo(`http://127.0.0.1:${database.port}`, () => database.close());
}
