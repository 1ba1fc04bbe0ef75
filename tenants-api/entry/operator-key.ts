/**
 * The operator key, out of Secrets Manager once at each cold start: a key in the environment would be shown to everybody
 * who may look at the function. Called by `lambda.ts`.
 */
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';

/** A start that waits longer fails: the gateway would have given up. */
const attemptsMax = 3;

/** `SHOAL_OPERATOR_KEY_SECRET` is the name or the ARN of a secret; `SHOAL_OPERATOR_KEY` is the key itself. */
export async function operatorKeyOf(env: NodeJS.ProcessEnv): Promise<string> {
  const { SHOAL_OPERATOR_KEY: key, SHOAL_OPERATOR_KEY_SECRET: secret } = env;
  if (key !== undefined && key !== '') return key;
  if (secret === undefined || secret === '')
    throw new Error('neither SHOAL_OPERATOR_KEY_SECRET nor SHOAL_OPERATOR_KEY is set');
  const client = new SecretsManagerClient({ maxAttempts: attemptsMax });
  try {
    const { SecretString } = await client.send(new GetSecretValueCommand({ SecretId: secret }));
    if (SecretString === undefined || SecretString === '') throw new Error('it is empty');
    return SecretString;
  } catch (error) {
    const { name, message } = error as Error;
    throw new Error(`the secret ${secret} of the operator key cannot be read: ${name}: ${message}`, { cause: error });
  } finally {
    client.destroy();
  }
}
