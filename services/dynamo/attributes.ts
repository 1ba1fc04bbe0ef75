/** Plain items and keys as DynamoDB's attribute values. */
import { marshall } from '@aws-sdk/util-dynamodb';
import type { TableKey } from './tables.js';

export function toAttributes(item: object): Record<string, never> {
  return marshall(item, { removeUndefinedValues: true }) as Record<string, never>;
}

/** The key alone, so that an item serves as its own key. */
export function toKey({ pk, sk }: TableKey): Record<string, never> {
  return toAttributes({ pk, sk });
}
