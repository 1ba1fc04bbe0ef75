/** Where a client of the SDK sends its requests: as given, or as environment, profile and region say. */
import { type DynamoDBClient, ListTablesCommand } from '@aws-sdk/client-dynamodb';

interface Request {
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number;
  readonly path: string;
}

/** A command that ends when it is known where it would go. Nothing is sent. */
export async function endpointOf(client: DynamoDBClient): Promise<URL> {
  let found: URL | undefined;
  const command = new ListTablesCommand({});
  command.middlewareStack.add(
    () =>
      ({ request }) => {
        const { protocol, hostname, port, path } = request as Request;
        found = new URL(`${protocol}//${hostname}${port === undefined ? '' : `:${port}`}${path}`);
        return Promise.resolve({ output: { $metadata: {} }, response: undefined });
      },
    { step: 'build' },
  );
  await client.send(command);
  return found!;
}
