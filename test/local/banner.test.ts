/** The commands of the banner work as pasted: a new user gets from nothing to a message through TLS. */
import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, test } from 'vitest';
import { freePorts, Workshop } from './shoal.js';

const workshop = new Workshop();
afterAll(() => workshop.clean());

const run = promisify(execFile);

/** Pastes the lines into a shell that starts somewhere else, and waits for what runs in its background. */
async function paste(shell: string, commands: string): Promise<string> {
  const { stdout, stderr } = await run(shell, ['-c', `${commands}\nwait`], { cwd: '/', timeout: 15_000 });
  expect(stderr).toBe('');
  return stdout;
}

/** The key, so that it is not lost with the shell, and the message. */
const printed = (tenant: string): RegExp => new RegExp(`^API key: shoal_${tenant}_[\\w-]+\\nhello/world hi there\\n$`);

test.each(['sh', 'bash'])('%s, in a folder whose name needs quotes', async (shell) => {
  const folder = join(workshop.folder(), `it's here`);
  mkdirSync(folder);
  const shoal = await workshop.start([...freePorts, '--data', folder]).ready();
  expect(shoal.commands.split('\n')).toHaveLength(5);
  expect(await paste(shell, shoal.commands)).toMatch(printed('acme'));
  expect(await shoal.stop()).toBe(0);

  // The tenant of the first start is still there: the next banner names one that is free.
  const again = await workshop.start([...freePorts, '--data', folder]).ready();
  expect(again.commands).not.toBe(shoal.commands);
  expect(await paste(shell, again.commands)).toMatch(printed('acme-[0-9a-f]{4}'));
  expect(await again.stop()).toBe(0);
});

test('a wildcard host is named localhost', async () => {
  const shoal = await workshop.start([...freePorts, '--ephemeral', '--host', '0.0.0.0']).ready();
  expect(shoal.stdout).toContain('mqtts://localhost:');
  expect(await paste('bash', shoal.commands)).toMatch(printed('acme'));
});
