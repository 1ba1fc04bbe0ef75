/** What every client has to be able to do, in every version and over every transport that it has. */
import { expect } from 'vitest';
import { until } from '../support/until.js';
import type { ClientProgram } from './program.js';
import type { Peer } from './peer.js';

/** More than one WebSocket frame, one TCP segment and one window of a client hold. */
const atOnce = 200;

/**
 * `root` is a topic of this conversation alone. The program is killed at its end: its will is part of it.
 */
export async function talk(program: ClientProgram, peer: Peer, root: string, qosMax: 1 | 2): Promise<void> {
  const levels = ([0, 1, 2] as const).filter((qos) => qos <= qosMax);
  const heard = await peer.listen(`${root}/out/#`);
  const wills = await peer.listen(`${root}/will`);
  await peer.publish(`${root}/in/kept`, 'kept', 1, true);

  await program.connected();
  await program.subscribe(`${root}/in/#`, qosMax);
  await program.received(1, 'the retained message');
  expect(program.messages).toEqual([`1 1 ${root}/in/kept kept`]);

  // One after the other: between two levels of QoS there is no order.
  for (const qos of levels) {
    await peer.publish(`${root}/in/${qos}`, `to-you-${qos}`, qos);
    await program.received(qos + 2, `QoS ${qos}`);
    program.publish(`${root}/out/${qos}`, `from-me-${qos}`, qos);
    await program.hasPublished(`from-me-${qos}`);
    await until(() => heard.length === qos + 1, `QoS ${qos} from the program`);
  }
  expect(program.messages.slice(1)).toEqual(levels.map((qos) => `${qos} 0 ${root}/in/${qos} to-you-${qos}`));
  expect(heard.splice(0)).toEqual(levels.map((qos) => `${qos} 0 ${root}/out/${qos} from-me-${qos}`));

  program.publish(`${root}/out/kept`, 'state', 1, true);
  await program.hasPublished('state');
  const late = await peer.listen(`${root}/out/kept`);
  await until(() => late.length === 1, 'what the program has retained');
  expect(late).toEqual([`1 1 ${root}/out/kept state`]);
  await until(() => heard.splice(0).length > 0, 'the same, as it was published');

  program.messages.length = 0;
  await peer.publishAtOnce(atOnce, `${root}/in/many`);
  await program.received(atOnce, 'all that came in one go');
  expect(program.messages).toEqual(Array.from({ length: atOnce }, (_, i) => `1 0 ${root}/in/many ${i}`));

  program.published.length = 0;
  program.publishAtOnce(atOnce, `${root}/out/many`);
  await until(() => heard.length >= atOnce, 'all that the program sent in one go');
  expect(heard).toEqual(Array.from({ length: atOnce }, (_, i) => `1 0 ${root}/out/many ${i}`));
  await program.hasPublished(String(atOnce - 1));

  program.kill();
  await until(() => wills.length === 1, 'the will');
  expect(wills).toEqual([`1 0 ${root}/will gone`]);
}
