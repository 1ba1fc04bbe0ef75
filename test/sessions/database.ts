/** What a running service has stored, read past it. */
import { readFileSync } from 'node:fs';
import { Dynamo } from '../../services/dynamo/dynamo.js';

/** The database of a running broker, which is told where it is by its environment. */
export function databaseOf(brokerPid: number): Dynamo {
  const env = readFileSync(`/proc/${brokerPid}/environ`, 'utf8').split('\0');
  const value = (name: string): string => env.find((line) => line.startsWith(`${name}=`))!.slice(name.length + 1);
  return new Dynamo({
    endpoint: value('SHOAL_DYNAMODB_ENDPOINT'),
    region: value('AWS_REGION'),
    tablePrefix: value('SHOAL_TABLE_PREFIX'),
  });
}

/** Messages that are stored in a partition of the inbox: of a client, or of a shared subscription. */
export async function storedMessages(dynamo: Dynamo, pk: string): Promise<number> {
  let count = 0;
  for await (const page of dynamo.queryAll('inbox', { pk, sk: { beginsWith: 'm' }, consistent: true }))
    for (const item of page) count += item['n'] as number;
  return count;
}
