/** What a row of the conformance tables is. The tables are data: the runner makes tests of them, generate.ts a document. */
import type { Trial } from './trial.js';

interface RowHead {
  /** The statement's identifier in the specification, or SHOAL-… for a choice or an unnumbered rule. */
  id: string;
  /** The statement's gist. */
  says: string;
  binds: 'server' | 'client' | 'both';
}

/** Every row names how it is shown: by a test of its own, by another row's test, or why it cannot be tested from outside. */
export type Row = RowHead &
  (
    | { test: (t: Trial) => Promise<void>; coveredBy?: never; notTestable?: never }
    | { coveredBy: string; test?: never; notTestable?: never }
    | { notTestable: string; test?: never; coveredBy?: never }
  );

export interface Table {
  key: 'v5' | 'v3' | 'shoal';
  title: string;
  /** Protocol level that a trial of these rows uses unless the row says otherwise. */
  level: 3 | 4 | 5;
  rows: Row[];
}
