/**
 * The folder that holds everything durable of one machine, and the lock that keeps a second instance out of it.
 *
 *     <data>/lock            pid of the running instance
 *     <data>/endpoints.json  while it runs: ports, CA file, operator key (0600)
 *     <data>/format          number of the format of what is in it
 *     <data>/operator-key    (0600)
 *     <data>/cluster-key     (0600) of links between brokers, once several have been started
 *     <data>/certificates/   development CA and server certificate
 *     <data>/dynamodb/       the tables
 *
 * With `--ephemeral` the tables live in memory and the folder is a temporary one that is removed at the end; with
 * `--ephemeral --data x` the tables live in memory and the certificates, the key and endpoints.json are in x.
 */
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { diskWords } from './disk.js';
import { StartFailure, systemCode } from './failure.js';
import type { Settings } from './settings.js';

export interface DataFolder {
  readonly path: string;
  /** Where the tables are; undefined keeps them in memory. */
  readonly tablesPath: string | undefined;
  /** The instance before this one ended without unlocking, so its processes may just be ending. */
  readonly afterCrash: boolean;
  /** Unlocks, and removes what `--ephemeral` must not leave behind. */
  close(): void;
}

/** Throws StartFailure when the folder cannot be used. */
export function openDataFolder(settings: Pick<Settings, 'dataFolder' | 'dataFolderGiven' | 'ephemeral'>): DataFolder {
  const temporary = settings.ephemeral && !settings.dataFolderGiven;
  const path = temporary ? temporaryFolder() : settings.dataFolder;
  if (!temporary) makeUsable(path);
  const afterCrash = lock(path);
  try {
    checkFormat(path);
  } catch (error) {
    rmSync(join(path, 'lock'), { force: true });
    throw error;
  }
  return {
    path,
    tablesPath: settings.ephemeral ? undefined : join(path, 'dynamodb'),
    afterCrash,
    close() {
      if (temporary) rmSync(path, { recursive: true, force: true });
      else rmSync(join(path, 'lock'), { force: true });
    },
  };
}

function temporaryFolder(): string {
  try {
    return mkdtempSync(join(tmpdir(), 'shoal-'));
  } catch (error) {
    const why = diskWords(systemCode(error)).replace('--data', 'TMPDIR');
    throw new StartFailure(`cannot make a temporary folder in ${tmpdir()}: ${why}`);
  }
}

/** Grows when a release writes what those before it would misread. Folders of before there was a number have none. */
const format = 1;

function checkFormat(folder: string): void {
  const file = join(folder, 'format');
  if (!existsSync(file)) return writePrivateFile(file, `${format}\n`);
  const found = readFileSync(file, 'utf8').trim();
  if (found === String(format)) return;
  throw new StartFailure(
    `data folder ${folder} (--data) has format ${found.slice(0, 20)}, and this version of Shoal reads ${format}: ` +
      'start the version that made it, or choose another folder',
  );
}

function makeUsable(path: string): void {
  try {
    makeFolder(path);
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
    const probe = join(path, `.probe-${process.pid}`);
    writeFileSync(probe, '');
    unlinkSync(probe);
  } catch (error) {
    const code = systemCode(error);
    const isFile = code === 'ENOTDIR' || code === 'EEXIST';
    const why = isFile ? 'it is not a folder, but a file or below one; choose another' : diskWords(code);
    throw new StartFailure(`data folder ${path} (--data): ${why}`);
  }
}

/** With the folders above it. `mkdirSync`'s own `recursive` never returns where the system refuses new folders (/proc). */
function makeFolder(path: string): void {
  const above = dirname(path);
  if (above !== path && !existsSync(above)) makeFolder(above);
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (systemCode(error) !== 'EEXIST' || !statSync(path).isDirectory()) throw error;
  }
}

interface LockHolder {
  readonly pid: number;
  /** Tells a process from a later one with the same pid; absent where the system does not say. */
  readonly started?: string;
}

/** Returns whether a lock was left behind by a process that is gone. */
function lock(folder: string): boolean {
  const file = join(folder, 'lock');
  const started = startOf(process.pid);
  const mine: LockHolder = { pid: process.pid, ...(started === undefined ? {} : { started }) };
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      writeFileSync(file, `${JSON.stringify(mine)}\n`, { flag: 'wx', mode: 0o600 });
      return attempt > 0;
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') {
        // A full disk takes the name, but not what is in it.
        if (systemCode(error) === 'ENOSPC') rmSync(file, { force: true });
        throw new StartFailure(`data folder ${folder} (--data): cannot write ${file}: ${diskWords(systemCode(error))}`);
      }
    }
    const holder = readHolder(file);
    if (holder !== undefined && isAlive(holder)) {
      throw new StartFailure(
        `data folder ${folder} (--data) is in use by another instance, process ${holder.pid}; stop that one, or choose another folder`,
      );
    }
    rmSync(file, { force: true });
  }
  throw new StartFailure(
    `data folder ${folder} (--data) is being opened by several instances at once; start one of them`,
  );
}

function readHolder(file: string): LockHolder | undefined {
  try {
    const read: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (typeof read !== 'object' || read === null || !('pid' in read) || typeof read.pid !== 'number') return undefined;
    const started = 'started' in read && typeof read.started === 'string' ? { started: read.started } : {};
    return { pid: read.pid, ...started };
  } catch {
    return undefined; // half-written by a process that died, or just removed
  }
}

function isAlive({ pid, started }: LockHolder): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return systemCode(error) === 'EPERM';
  }
  const now = startOf(pid);
  return started === undefined || now === undefined || now === started;
}

/** When a process began, in ticks since boot, with the boot's own id; Linux only. */
function startOf(pid: number): string | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in field 2 may hold spaces; what follows its closing bracket starts with field 3. Field 22 is the start.
    const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    return ticks === undefined ? undefined : `${boot}/${ticks}`;
  } catch {
    return undefined;
  }
}

/** Throws StartFailure. Replaces a file at once, readable by its owner alone: a reader sees the old text or the new one. */
export function writePrivateFile(file: string, text: string): void {
  const next = `${file}.${process.pid}`;
  try {
    writeFileSync(next, text, { mode: 0o600 });
    chmodSync(next, 0o600);
    renameSync(next, file);
  } catch (error) {
    rmSync(next, { force: true });
    throw new StartFailure(`cannot write ${file}: ${diskWords(systemCode(error))}`);
  }
}

/** The key that was given, or the one in the folder, or a new one that is kept there. */
export function operatorKeyOf(folder: string, given: string | undefined): string {
  return (
    given ?? keptSecret(join(folder, 'operator-key'), () => `shoal_operator_${randomBytes(24).toString('base64url')}`)
  );
}

/** The file with the key that brokers of this folder have in common. */
export function clusterKeyFileOf(folder: string): string {
  const file = join(folder, 'cluster-key');
  keptSecret(file, () => randomBytes(32).toString('base64'));
  return file;
}

function keptSecret(file: string, make: () => string): string {
  try {
    const kept = readFileSync(file, 'utf8').trim();
    if (kept !== '') return kept;
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw new StartFailure(`cannot read ${file}: ${diskWords(systemCode(error))}`);
  }
  const fresh = make();
  writePrivateFile(file, `${fresh}\n`);
  return fresh;
}
