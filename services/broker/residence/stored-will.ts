/** A will as a session has it, and as a record does: with its content, or without it when that has an item of its own. */
import { ownBytes } from '../../kernel/kernel.js';
import type { StoredWill, WillContent } from '../../tenancy/tenancy.js';
import { emptyBytes } from '../message/message.js';
import type { Will } from '../session/session.js';

export function storedWill(will: Will, isElsewhere = false): StoredWill {
  const { topic, payload, qos, retain, properties, delaySeconds, expirySeconds } = will;
  return {
    topic,
    qos,
    retain,
    delaySeconds,
    ...(!isElsewhere && { payload: Uint8Array.from(payload), properties: Uint8Array.from(properties) }),
    ...(expirySeconds !== undefined && { expirySeconds }),
  };
}

export function willFromStored({ topic, qos, retain, delaySeconds, expirySeconds, ...stored }: StoredWill): Will {
  const { payload, properties } = stored;
  const isUnread = payload === undefined || properties === undefined;
  const content = isUnread ? { payload: emptyBytes, properties: emptyBytes } : ownContent({ payload, properties });
  return { topic, ...content, qos, retain, delaySeconds, expirySeconds, isUnread };
}

export const ownContent = ({ payload, properties }: WillContent): Pick<Will, 'payload' | 'properties'> => ({
  payload: ownBytes(payload),
  properties: properties.length > 0 ? ownBytes(properties) : emptyBytes,
});
