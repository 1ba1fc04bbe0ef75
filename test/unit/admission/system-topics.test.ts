/** Load averages, and who is told which of a tenant's numbers when. */
import type { IPublishPacket } from 'mqtt-packet';
import { describe, expect, it } from 'vitest';
import { LoadAverages, loadNames } from '../../../services/broker/tenant/load.js';
import { systemTopicsEveryMs } from '../../../services/broker/tenant/system-topics.js';
import { newMeters } from '../../../services/broker/message/message.js';
import { type Device, settle, Site } from './site.js';

const received = loadNames.indexOf('publish/received');
const averages = (load: LoadAverages, name = received): number[] =>
  [0, 1, 2].map((window) => load.average(name, window));
/** Six ticks are a minute. */
const tickMs = 10_000;

describe('load averages', () => {
  it('of a tenant at which nobody looks are those of one that is read all the time', () => {
    const meters = newMeters();
    const [read, unread] = [new LoadAverages(0), new LoadAverages(0)];
    for (let tick = 1; tick <= 200; tick++) {
      const isBusy = tick % 50 < 10;
      if (isBusy) meters.messagesReceived += tick;
      read.update(meters, tick * 10_000);
      if (isBusy) unread.update(meters, tick * 10_000, (tick - 1) * 10_000);
    }
    const nowMs = 2_500_000; // Quiet until somebody asks.
    for (let atMs = 2_010_000; atMs <= nowMs; atMs += 10_000) read.update(meters, atMs);
    unread.update(meters, nowMs, nowMs - 5000);
    expect(averages(read)[2]).toBeGreaterThan(1);
    for (const window of [0, 1, 2]) expect(averages(unread)[window]).toBeCloseTo(averages(read)[window]!, 6);
  });

  it('come to the rate a minute, each over its own time', () => {
    const [load, meters] = [new LoadAverages(0), newMeters()];
    let atMs = 0;
    const run = (minutes: number, aTick: number): void => {
      for (let tick = 0; tick < minutes * 6; tick++) {
        meters.messagesReceived += aTick;
        load.update(meters, (atMs += tickMs));
      }
    };
    // 60 a minute from nothing: after the time of each window 1 - 1/e of it.
    const share = 1 - Math.exp(-1);
    run(1, 10);
    expect(averages(load)[0]).toBeCloseTo(60 * share, 6);
    run(4, 10);
    expect(averages(load)[1]).toBeCloseTo(60 * share, 6);
    run(10, 10);
    expect(averages(load)[2]).toBeCloseTo(60 * share, 6);
    // And it goes down when nothing comes.
    const before = averages(load);
    run(15, 0);
    expect(averages(load)).toEqual(
      [1, 5, 15].map((minutes, window) => expect.closeTo(before[window]! * Math.exp(-15 / minutes), 6) as number),
    );
  });

  it('do not depend on how often they are looked at', () => {
    const [often, seldom, meters] = [new LoadAverages(0), new LoadAverages(0), newMeters()];
    for (let second = 1; second <= 60; second++) {
      meters.messagesReceived += 3;
      often.update(meters, second * 1000);
    }
    seldom.update(meters, 60_000);
    averages(often).forEach((average, window) => expect(average).toBeCloseTo(averages(seldom)[window]!, 6));
  });

  it('stay finite when no time has passed', () => {
    const [load, meters] = [new LoadAverages(5), newMeters()];
    meters.messagesReceived = 7;
    load.update(meters, 5);
    load.update(meters, 4);
    expect(averages(load)).toEqual([0, 0, 0]);
  });
});

const told = (device: Device): Record<string, string> =>
  Object.fromEntries(
    device
      .take()
      .filter((packet): packet is IPublishPacket => packet.cmd === 'publish')
      .map(({ topic, payload }) => [topic.replace('$SYS/broker/', ''), payload.toString()]),
  );
const subscribe = (topic: string): Parameters<Device['send']>[0] => ({
  cmd: 'subscribe',
  messageId: 9,
  subscriptions: [{ topic, qos: 0 }],
});

describe('subscribers of $SYS', () => {
  it('get all values, and then those that have changed', async () => {
    const site = new Site();
    const watcher = await site.admit('watcher', { clean: true, expiry: 0 });
    watcher.send(subscribe('$SYS/broker/#'));
    await settle(10);
    const all = told(watcher);
    expect(all).toMatchObject({ 'clients/total': '1', 'clients/maximum': '1', uptime: '0 seconds' });
    // Nobody knows what the first tick finds: it tells all.
    site.clock.advance(systemTopicsEveryMs);
    expect(Object.keys(told(watcher)).sort()).toEqual(Object.keys(all).sort());
    site.clock.advance(systemTopicsEveryMs);
    const quiet = told(watcher);
    expect(quiet).toMatchObject({ uptime: '20 seconds' });
    expect(quiet).not.toHaveProperty('clients/total');
    const other = await site.admit('other', { clean: true, expiry: 0 });
    site.clock.advance(systemTopicsEveryMs);
    expect(told(watcher)).toMatchObject({ 'clients/total': '2', 'clients/maximum': '2', 'clients/connected': '2' });
    other.end();
    await settle(5);
    site.clock.advance(systemTopicsEveryMs);
    const after = told(watcher);
    expect(after).toMatchObject({ 'clients/total': '1', 'clients/connected': '1' });
    expect(after).not.toHaveProperty('clients/maximum');
  });

  it('that come later are told what has gone back to what others knew', async () => {
    const site = new Site();
    const first = await site.admit('first', { clean: true, expiry: 0 });
    first.send(subscribe('$SYS/broker/clients/total'));
    await settle(10);
    site.clock.advance(systemTopicsEveryMs);
    expect(told(first)).toEqual({ 'clients/total': '1' });
    const second = await site.admit('second', { clean: true, expiry: 0 });
    second.send(subscribe('$SYS/broker/clients/total'));
    await settle(10);
    expect(told(second)).toEqual({ 'clients/total': '2' });
    first.end();
    await settle(5);
    site.clock.advance(systemTopicsEveryMs);
    expect(told(second)).toEqual({ 'clients/total': '1' });
  });

  it('are told although the store is out of reach', async () => {
    const site = new Site();
    site.retained.counted = () => Promise.reject(new Error('away'));
    const watcher = await site.admit('watcher', { clean: true, expiry: 0 });
    watcher.send(subscribe('$SYS/broker/#'));
    await settle(10);
    expect(told(watcher)).toMatchObject({ 'clients/total': '1', 'retained messages/count': '0' });
  });

  it('whose sessions another broker has begun are told what is retained, without a new SUBSCRIBE', async () => {
    const site = new Site();
    const watcher = await site.admit('watcher');
    watcher.send({ cmd: 'publish', topic: 'kept', payload: 'x', qos: 0, retain: true, dup: false });
    await site.subscribe(watcher, '$SYS/broker/retained messages/count', 0);
    await site.calm();
    watcher.take();
    site.boot();
    const back = await site.admit('watcher');
    back.take();
    await settle(10);
    site.clock.advance(systemTopicsEveryMs);
    expect(told(back)).toEqual({ 'retained messages/count': '1' });
  });

  it('of nothing but the states of bridges are told no numbers', async () => {
    const site = new Site();
    const watcher = await site.admit('watcher', { clean: true, expiry: 0 });
    watcher.send(subscribe('$SYS/broker/connection/#'));
    await settle(10);
    site.clock.advance(systemTopicsEveryMs);
    expect(told(watcher)).toEqual({});
  });
});
