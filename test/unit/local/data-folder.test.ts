import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openDataFolder, operatorKeyOf } from '../../../services/local/data-folder.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-folder-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const kept = (path: string) => ({ dataFolder: path, dataFolderGiven: true, ephemeral: false });

test('a folder is made, locked while it is open, and free again afterwards', () => {
  const path = join(folder, 'a', 'b');
  const open = openDataFolder(kept(path));
  expect(open).toMatchObject({ path, tablesPath: join(path, 'dynamodb'), afterCrash: false });
  expect(() => openDataFolder(kept(path))).toThrow(new RegExp(`${path} .*in use .*process ${process.pid}`));
  open.close();
  openDataFolder(kept(path)).close();
});

test('the lock of a process that is gone does not count', () => {
  const gone = spawnSync(process.execPath, ['-e', '']).pid;
  writeFileSync(join(folder, 'lock'), JSON.stringify({ pid: gone }));
  const open = openDataFolder(kept(folder));
  expect(open.afterCrash).toBe(true);
  open.close();
});

test.runIf(process.platform === 'linux')('the lock of an earlier process with a pid that is in use again', () => {
  writeFileSync(join(folder, 'lock'), JSON.stringify({ pid: process.pid, started: 'another boot/1' }));
  openDataFolder(kept(folder)).close();
});

test('a lock that was half written does not count', () => {
  writeFileSync(join(folder, 'lock'), '{"pi');
  openDataFolder(kept(folder)).close();
});

test('a file in place of the folder is named', () => {
  const path = join(folder, 'file');
  writeFileSync(path, '');
  expect(() => openDataFolder(kept(path))).toThrow(`data folder ${path} (--data): it is not a folder`);
});

test.runIf(process.platform === 'linux')('a place where no folder can be made is named', () => {
  expect(() => openDataFolder(kept('/proc/shoal/data'))).toThrow('data folder /proc/shoal/data (--data): it cannot be');
});

test('ephemeral: tables in memory, and a temporary folder that disappears', () => {
  const open = openDataFolder({ dataFolder: folder, dataFolderGiven: false, ephemeral: true });
  expect(open.tablesPath).toBeUndefined();
  expect(open.path).not.toBe(folder);
  expect(statSync(open.path).mode & 0o777).toBe(0o700);
  open.close();
  expect(existsSync(open.path)).toBe(false);
});

test('ephemeral with a data folder: tables in memory, the folder stays', () => {
  const open = openDataFolder({ dataFolder: folder, dataFolderGiven: true, ephemeral: true });
  expect(open).toMatchObject({ path: folder, tablesPath: undefined });
  open.close();
  expect(existsSync(folder)).toBe(true);
});

test('the operator key is generated once, kept private, and a given one wins', () => {
  const key = operatorKeyOf(folder, undefined);
  expect(key).toMatch(/^shoal_operator_[\w-]{32}$/);
  expect(operatorKeyOf(folder, undefined)).toBe(key);
  expect(statSync(join(folder, 'operator-key')).mode & 0o777).toBe(0o600);
  expect(operatorKeyOf(folder, 'mine')).toBe('mine');
  expect(readFileSync(join(folder, 'operator-key'), 'utf8').trim()).toBe(key);
});
