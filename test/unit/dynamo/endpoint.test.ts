/** Where requests go is what the SDK finds: given, from the environment, or the region's. */
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { afterEach, expect, test, vi } from 'vitest';
import { endpointOf } from '../../../services/dynamo/endpoint.js';

afterEach(() => vi.unstubAllEnvs());

const credentials = { accessKeyId: 'a', secretAccessKey: 'b' };

test.each([
  [{ region: 'eu-central-1', endpoint: 'http://127.0.0.1:8000' }, {}, 'http://127.0.0.1:8000/'],
  [{ region: 'eu-central-1', endpoint: 'https://example.test/behind' }, {}, 'https://example.test/behind/'],
  [{ region: 'eu-central-1' }, {}, 'https://dynamodb.eu-central-1.amazonaws.com/'],
  [{ region: 'cn-north-1' }, {}, 'https://dynamodb.cn-north-1.amazonaws.com.cn/'],
  [{ region: 'us-east-1', useFipsEndpoint: true }, {}, 'https://dynamodb-fips.us-east-1.amazonaws.com/'],
  [{ region: 'eu-central-1' }, { AWS_ENDPOINT_URL_DYNAMODB: 'http://127.0.0.2:1' }, 'http://127.0.0.2:1/'],
])('%j with %j is at %s', async (options, environment, expected) => {
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
  const client = new DynamoDBClient({ ...options, credentials });
  expect((await endpointOf(client)).href).toBe(expected);
  client.destroy();
});
