/** Errors end up in logs, fields and causes included: none may carry what is stored. */
import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { fromAttributes, toAttributes } from '../../../services/dynamo/attributes.js';
import { ConditionFailed, typedError } from '../../../services/dynamo/errors.js';

const call = { tables: ['shoal-tenants'], action: 'PutItem', place: 'in region eu-central-1' };

test('a condition that did not hold knows the item that was there, and a log of it does not', () => {
  const item = { pk: 'acme', sk: 'cred#sensor-1', secretHash: 'sha256$abc' };
  const cause = new ConditionalCheckFailedException({
    message: 'no',
    $metadata: {},
    Item: toAttributes(item) as never,
  });
  const error = typedError(cause, call, (attributes) => fromAttributes(attributes as never));
  expect(error).toBeInstanceOf(ConditionFailed);
  expect((error as ConditionFailed).item).toEqual(item);
  const logged = JSON.stringify(pino.stdSerializers.err(error));
  expect(logged).toContain('the condition did not hold');
  expect(logged).not.toContain('abc');
  expect(logged).not.toContain('sensor-1');
});
