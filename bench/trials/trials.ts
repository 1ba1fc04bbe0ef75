/** Not scenarios: each has a table of its own, of what happens around connections and not of messages. */
import { awayMemory } from './away-memory.js';
import { connect } from './connect.js';
import { database } from './database.js';
import { restart } from './restart.js';
import { storm } from './storm.js';
import { tenants } from './tenants.js';
import type { Trial } from './trial.js';

export const trials: Readonly<Record<string, Trial>> = {
  'away-memory': awayMemory,
  connect,
  database,
  restart,
  storm,
  tenants,
};
