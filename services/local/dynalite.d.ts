/** What Shoal uses of dynalite, which has no types of its own. */
declare module 'dynalite' {
  import type { Server } from 'node:http';

  interface DynaliteOptions {
    /** Folder of the database; absent keeps everything in memory. */
    path?: string;
    createTableMs?: number;
    deleteTableMs?: number;
    updateTableMs?: number;
  }

  /** Closing the server closes the database after the operations that are under way. */
  export default function dynalite(options?: DynaliteOptions): Server;
}
