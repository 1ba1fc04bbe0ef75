import { beforeEach, describe, expect, it } from 'vitest';
import { DynamoMisconfigured, DynamoUnavailable } from '../../../services/dynamo/errors.js';
import type { TableName } from '../../../services/dynamo/tables.js';
import { oncePerCause, Troubles } from '../../../services/dynamo/troubles.js';
import type { Log } from '../../../services/kernel/kernel.js';

let lines: string[];
let troubles: Troubles;
let log: Log;

beforeEach(() => {
  lines = [];
  const write =
    (level: string) =>
    (fields: object, message: string): void => {
      const { error } = fields as { error?: Error };
      lines.push(`${level} ${message}${error ? `: ${error.message}` : ''}`);
    };
  const plain: Log = { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
  troubles = new Troubles(plain);
  log = oncePerCause(plain);
});

const isOver = 'info DynamoDB works again';

/** As `Calls` does it, and as a room then tells it. */
function refused(action: string, tables: readonly TableName[], sentence = 'no', code = 'AccessDenied'): void {
  const error = new DynamoMisconfigured(`${action} ${tables.join('+')} ${code}`, { code });
  troubles.failed(tables, action, error);
  log.error({ error }, sentence);
}

function away(action: string, table: TableName, sentence: string): void {
  const error = new DynamoUnavailable('ECONNREFUSED', { code: 'ECONNREFUSED', isUnreachable: true });
  troubles.failed([table], action, error);
  log.warn({ error }, sentence);
}

describe('a wrong set-up', () => {
  it('is told once, by whoever meets it first, until it is over', () => {
    refused('PutItem', ['sessions'], 'first');
    refused('PutItem', ['sessions'], 'first');
    refused('PutItem', ['sessions'], 'second');
    expect(lines).toEqual(['error first: PutItem sessions AccessDenied']);
    troubles.succeeded(['sessions'], 'GetItem');
    troubles.succeeded(['retained'], 'PutItem');
    expect(lines).toHaveLength(1);
    troubles.succeeded(['sessions'], 'PutItem');
    troubles.succeeded(['sessions'], 'PutItem');
    expect(lines.slice(1)).toEqual([isOver]);
    refused('PutItem', ['sessions'], 'first');
    expect(lines).toHaveLength(3);
  });

  it('is another one on another table, for another action and of another kind', () => {
    refused('PutItem', ['sessions']);
    refused('PutItem', ['retained']);
    refused('GetItem', ['sessions']);
    refused('PutItem', ['sessions'], 'no', 'ResourceNotFoundException');
    expect(lines).toHaveLength(4);
  });

  it('of a call over several tables is narrowed down to the culprit', () => {
    refused('BatchWriteItem', ['inbox', 'routes']);
    refused('BatchWriteItem', ['inbox']);
    troubles.succeeded(['routes'], 'BatchWriteItem');
    refused('BatchWriteItem', ['inbox', 'routes']);
    expect(lines).toEqual(['error no: BatchWriteItem inbox+routes AccessDenied']);
    refused('BatchWriteItem', ['routes']); // Another one after all.
    expect(lines).toHaveLength(2);
    troubles.succeeded(['inbox'], 'BatchWriteItem');
    expect(lines.slice(2)).toEqual([isOver]);
  });

  it('of several tables is over when each has worked again', () => {
    refused('BatchWriteItem', ['inbox', 'routes']);
    troubles.succeeded(['routes'], 'BatchWriteItem');
    expect(lines).toHaveLength(1);
    troubles.succeeded(['inbox'], 'BatchWriteItem');
    expect(lines.slice(1)).toEqual([isOver]);
  });
});

describe('an outage', () => {
  it('is one, whatever is asked for, told once in each sentence, and over with the first answer', () => {
    away('PutItem', 'sessions', 'a record waits');
    away('BatchWriteItem', 'inbox', 'messages wait');
    away('PutItem', 'retained', 'a record waits');
    expect(lines).toEqual(['warn a record waits: ECONNREFUSED', 'warn messages wait: ECONNREFUSED']);
    troubles.succeeded(['cluster'], 'UpdateItem');
    expect(lines.slice(2)).toEqual([isOver]);
  });

  it('that nobody has told has no end to tell', () => {
    troubles.failed(['inbox'], 'Query', new DynamoUnavailable('x', { code: 'ECONNREFUSED', isUnreachable: true }));
    troubles.succeeded(['inbox'], 'Query');
    expect(lines).toEqual([]);
  });
});

it('lines about anything else pass, however often', () => {
  for (let i = 0; i < 2; i++) {
    log.error({ error: new Error('ours') }, 'a fault');
    log.warn({}, 'late');
    log.info({ error: new DynamoUnavailable('away') }, 'told');
    log.debug({}, 'detail');
  }
  expect(lines).toEqual([
    ...['error a fault: ours', 'warn late', 'info told: away', 'debug detail'],
    ...['error a fault: ours', 'warn late', 'info told: away', 'debug detail'],
  ]);
});
