/**
 * What a disk says no with, in the words of who has to put it right: for the data folder and everything in it. A database
 * tells only in the text of its errors which one it was.
 */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { systemCode } from './failure.js';

const elsewhere = 'or choose another folder with --data';
const noAccess = `this user cannot read and write it; change its owner or mode, ${elsewhere}`;

const remedies: ReadonlyMap<string, string> = new Map([
  ['ENOSPC', 'the disk is full; free some space'],
  ['EDQUOT', 'the disk quota of this user is used up; free some space'],
  ['EROFS', `the file system is read-only; mount it for writing, ${elsewhere}`],
  ['EACCES', noAccess],
  ['EPERM', noAccess],
  ['EIO', 'the disk has errors; see the system log'],
  ['EMFILE', 'this process has too many open files; raise `ulimit -n`'],
  ['ENFILE', 'the system has too many open files; see `fs.file-max`'],
]);

/** Why, what to do, and the system's own word for it. */
export function diskWords(code: string | undefined): string {
  const words = code === undefined ? undefined : remedies.get(code);
  return words === undefined
    ? `it cannot be read and written (${code ?? 'for no known reason'})`
    : `${words} (${code})`;
}

/** As the C library says them, which is all that LevelDB passes on. */
const codes: readonly (readonly [RegExp, string])[] = [
  [/No space left on device/, 'ENOSPC'],
  [/[Qq]uota exceeded/, 'EDQUOT'],
  [/Read-only file system/, 'EROFS'],
  [/Permission denied/, 'EACCES'],
  [/Operation not permitted/, 'EPERM'],
  [/Input\/output error/, 'EIO'],
  [/Too many open files in system/, 'ENFILE'],
  [/Too many open files/, 'EMFILE'],
];

/** Why the database in `folder` cannot be opened or written, and what to do; undefined when it is no fault of its disk. */
export function databaseWords(folder: string, error: unknown): string | undefined {
  const code = systemCode(error);
  if (code?.startsWith('LEVEL_') !== true) return undefined;
  const cause = deepest(error as Error);
  const reason = systemCode(cause);
  if (reason === 'LEVEL_LOCKED') {
    const pid = holderOf(join(folder, 'LOCK'));
    return `it is in use by another process${pid === undefined ? '' : `, ${pid}`}; stop that one first`;
  }
  if (reason === 'EEXIST' || reason === 'ENOTDIR') return 'there is a file with the name of the folder; move it away';
  const known = reason?.startsWith('LEVEL_') === true ? codes.find(([text]) => text.test(cause.message))?.[1] : reason;
  if (known !== undefined) return diskWords(known);
  return `it is damaged (${cause.message}); restore a copy of the data folder, or move it away to start afresh`;
}

/** When it cannot be opened, the reason is some causes further down. */
const deepest = (error: Error): Error => (error.cause instanceof Error ? deepest(error.cause) : error);

/** Who has locked a file; Linux only. */
function holderOf(file: string): number | undefined {
  try {
    const { ino } = statSync(file);
    const line = readFileSync('/proc/locks', 'utf8')
      .split('\n')
      .find((text) => text.includes(`:${ino} `));
    const pid = Number(line?.trim().split(/\s+/)[4]);
    return pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}
