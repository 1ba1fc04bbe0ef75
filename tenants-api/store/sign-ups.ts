/** How often a source address tries to sign up: one counter a minute in the table `tenants`, removed by TTL. */
import { ConditionFailed, type Dynamo } from '../../services/dynamo/dynamo.js';

const windowMs = 60_000;
const ttlGraceSeconds = 60;

/** Counts one try. Undefined when it is within the limit, else the seconds until the next minute. */
export async function countSignUp(
  dynamo: Dynamo,
  address: string,
  perMinute: number,
  nowMs: number,
): Promise<number | undefined> {
  const window = Math.floor(nowMs / windowMs);
  const endsAtMs = (window + 1) * windowMs;
  const retryAfterSeconds = Math.max(1, Math.ceil((endsAtMs - nowMs) / 1000));
  if (perMinute <= 0) return retryAfterSeconds;
  try {
    // No tenant id has a `#`, so that the row cannot meet a tenant's.
    await dynamo.update(
      'tenants',
      { pk: `signup#${address}`, sk: `minute#${window}` },
      {
        update: 'SET #ttl = :ttl ADD tries :one',
        condition: 'attribute_not_exists(tries) OR tries < :max',
        names: { '#ttl': 'ttl' },
        values: { ':one': 1, ':max': perMinute, ':ttl': Math.ceil(endsAtMs / 1000) + ttlGraceSeconds },
      },
    );
    return undefined;
  } catch (error) {
    if (error instanceof ConditionFailed) return retryAfterSeconds;
    throw error;
  }
}
