/** Calls that wait for their turn: in the process's own queue, which is no time of DynamoDB's. */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { CallQueue } from '../../../services/dynamo/call-queue.js';
import { Dynamo, DynamoUnavailable } from '../../../services/dynamo/dynamo.js';
import { Metrics } from '../../../services/kernel/kernel.js';
import { scopeOfPartition } from '../../../services/tenancy/tenancy.js';
import { until } from '../../support/until.js';

const settle = async (): Promise<void> => {
  for (let i = 0; i < 6; i++) await Promise.resolve();
};

describe('calls that wait', () => {
  afterEach(() => void vi.useRealTimers());

  /** Who has got a turn, in order. */
  function ask(queue: CallQueue, order: string[], tenant: string, count: number, canWait = false): void {
    for (let i = 0; i < count; i++)
      void Promise.resolve(queue.enter(tenant, Infinity, canWait)).then((notSent) => order.push(notSent ?? tenant));
  }

  it('take turns by tenant', async () => {
    const queue = new CallQueue(2);
    const order: string[] = [];
    ask(queue, order, 'evil', 1000);
    ask(queue, order, 'good', 1);
    ask(queue, order, 'other', 2);
    await settle();
    expect(order).toEqual(['evil', 'evil']);
    for (let i = 0; i < 6; i++) queue.leave();
    await settle();
    expect(order.slice(2)).toEqual(['evil', 'good', 'other', 'evil', 'other', 'evil']);
    expect(queue.waiting).toBe(995);
  });

  it('are overtaken by those that somebody waits for, but for one in eight', async () => {
    const queue = new CallQueue(1);
    const order: string[] = [];
    ask(queue, order, 'first', 1);
    ask(queue, order, 'release', 5001, true);
    ask(queue, order, 'claim', 20);
    await settle();
    // Releases have filled their lines, and no claim is refused for it.
    expect(order).toEqual(['first', 'QueueFull']);
    for (let i = 0; i < 24; i++) queue.leave();
    await settle();
    const claims = (count: number) => Array.from({ length: count }, () => 'claim');
    expect(order.slice(2)).toEqual([
      ...[...claims(7), 'release', ...claims(7), 'release'],
      ...[...claims(6), 'release', 'release'],
    ]);
    expect(queue.waiting).toBe(4996);
  });

  it('are refused at once when a tenant has too many of them; another is not', async () => {
    const queue = new CallQueue(1);
    const order: string[] = [];
    ask(queue, order, 'evil', 5002);
    ask(queue, order, 'good', 1);
    await settle();
    expect(order).toEqual(['evil', 'QueueFull']);
    queue.leave();
    queue.leave();
    await settle();
    expect(order.slice(2)).toEqual(['evil', 'good']);
  });

  it('give up when they have waited too long, and take no turn then', async () => {
    vi.useFakeTimers();
    const queue = new CallQueue(1);
    const outcomes: unknown[] = [];
    const enter = (withinMs: number) =>
      void Promise.resolve(queue.enter('a', withinMs)).then((notSent) => outcomes.push(notSent));
    enter(10);
    enter(10);
    enter(Infinity);
    vi.advanceTimersByTime(10);
    await settle();
    expect([outcomes, queue.waiting]).toEqual([[undefined, 'QueuedTooLong'], 1]);
    queue.leave();
    await settle();
    expect(outcomes).toEqual([undefined, 'QueuedTooLong', undefined]);
    enter(Infinity);
    vi.advanceTimersByTime(30_000);
    await settle();
    expect(outcomes.at(-1)).toBe('QueuedTooLong');
  });
});

describe('a slow DynamoDB', () => {
  let server: Server;
  let dynamo: Dynamo;
  let requests = 0;
  let isStuck = true;
  const stuck: ServerResponse[] = [];
  afterEach(() => {
    dynamo.close();
    server.close();
  });

  const answer = (response: ServerResponse) =>
    response.setHeader('content-type', 'application/x-amz-json-1.0').end('{}');
  const release = () => {
    isStuck = false;
    stuck.splice(0).forEach(answer);
  };

  /** Answers each request after `answerMs`; those of the tenant `stuck` when they are released. */
  async function start(answerMs: number, requestTimeoutMs: number) {
    requests = 0;
    isStuck = true;
    const metrics = new Metrics();
    server = createServer((request, response) => {
      let body = '';
      request.on('data', (data: Buffer) => (body += String(data)));
      request.on('end', () => {
        requests++;
        if (isStuck && body.includes('"stuck#')) stuck.push(response);
        else setTimeout(() => answer(response), answerMs);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const tenantOf = (_: unknown, pk: string) => scopeOfPartition(pk);
    dynamo = new Dynamo({ endpoint, region: 'eu-central-1', tablePrefix: 'x-', requestTimeoutMs, metrics, tenantOf });
    return metrics;
  }

  it('gets one attempt for each of 2000 calls that are made at once', async () => {
    const metrics = await start(20, 2000); // All of them together take longer than an attempt may.
    const narrow = dynamo.apart(16);
    await Promise.all(Array.from({ length: 2000 }, (_, i) => narrow.delete('sessions', { pk: 'a#00', sk: `c${i}` })));
    const labels = { table: 'sessions', action: 'DeleteItem' };
    expect([requests, metrics.counter('shoal_dynamodb_calls_total', '', labels).value]).toEqual([2000, 2000]);
  }, 60_000);

  it('holds up nobody who has sockets of his own', async () => {
    await start(1, 60_000);
    const door = dynamo.apart(4);
    const reads = Array.from({ length: 300 }, (_, i) => dynamo.get('retained', { pk: 'stuck#', sk: `${i}` }));
    await until(() => requests >= 64);
    await door.put('sessions', { pk: 'good#00', sk: 'c' });
    expect(requests).toBe(65);
    release();
    await Promise.all(reads);
  });

  it('says of a call that it was not sent, and why', async () => {
    const metrics = await start(1, 60_000);
    const one = dynamo.apart(1);
    const read = one.get('inbox', { pk: 'stuck#', sk: 'a' });
    await until(() => requests === 1);
    const error = await one.get('inbox', { pk: 'good#', sk: 'a' }, { deadlineMs: 20 }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(DynamoUnavailable);
    expect(String(error)).toBe(
      'DynamoUnavailable: DynamoDB GetItem on table x-inbox was not sent: it waited too long behind other calls of this process',
    );
    expect(metrics.counter('shoal_dynamodb_calls_total', '', { table: 'inbox', action: 'GetItem' }).value).toBe(1);
    release();
    await read;
  });
});
