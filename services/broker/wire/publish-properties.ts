/**
 * The properties of a PUBLISH, looked at in place. Most of them only travel on: they stay the bytes they came as,
 * in their order. Topic Alias and Message Expiry Interval are taken out, because they mean something on this
 * connection or at this moment only.
 */
import { emptyBytes } from '../message/message.js';
import { Cursor } from './cursor.js';
import { checkResponseTopic } from './decode.js';
import { checkPropertiesBytes, propertiesMax, tooManyProperties } from './properties.js';
import { malformed, protocolError } from './reasons.js';

export interface PublishProperties {
  /** 0 when absent. */
  topicAlias: number;
  /** -1 when absent. */
  expirySeconds: number;
  /** What goes on to subscribers: a view of the packet, or a copy where something had to be taken out. */
  forwarded: Buffer;
}

const once = new Set<number>();

/** Reads the properties between `start` and `end`, which are known to lie inside the packet, into `out`. */
export function scanPublishProperties(bytes: Buffer, start: number, end: number, out: PublishProperties): void {
  checkPropertiesBytes(end - start);
  const cursor = new Cursor(bytes, start, end);
  const kept: Buffer[] = [];
  let keptFrom = start;
  out.topicAlias = 0;
  out.expirySeconds = -1;
  once.clear();
  for (let count = 1; cursor.left > 0; count++) {
    if (count > propertiesMax) throw tooManyProperties();
    const at = cursor.at;
    const id = cursor.variableByteInteger();
    if (id !== 0x26) {
      if (once.has(id)) throw protocolError(`property 0x${id.toString(16)} appears twice`);
      once.add(id);
    }
    if (id === 0x23 || id === 0x02) {
      if (id === 0x23) out.topicAlias = aliasValue(cursor.u16());
      else out.expirySeconds = cursor.u32();
      kept.push(bytes.subarray(keptFrom, at));
      keptFrom = cursor.at;
    } else checkForwarded(id, cursor);
  }
  if (keptFrom === start) out.forwarded = bytes.subarray(start, end);
  else {
    kept.push(bytes.subarray(keptFrom, end));
    out.forwarded = Buffer.concat(kept);
    if (out.forwarded.length === 0) out.forwarded = emptyBytes;
  }
}

/** [MQTT-3.3.2-8] Zero is told by its own reason code, in the session; here -1 stands for it. */
function aliasValue(value: number): number {
  return value === 0 ? -1 : value;
}

function checkForwarded(id: number, cursor: Cursor): void {
  switch (id) {
    case 0x01: // Payload Format Indicator
      if (cursor.u8() > 1) throw protocolError('the payload format indicator must be 0 or 1');
      return;
    case 0x03: // Content Type
      return cursor.skipUtf8();
    case 0x08: // Response Topic
      return checkResponseTopic(cursor.utf8());
    case 0x09: // Correlation Data
      return cursor.skipBinary();
    case 0x26: // User Property
      cursor.skipUtf8();
      return cursor.skipUtf8();
    case 0x0b: // [MQTT-3.3.4-6] Subscription Identifiers go from server to client only.
      throw protocolError('a client cannot send subscription identifiers in PUBLISH');
    default:
      throw malformed(`property 0x${id.toString(16)} is not allowed in PUBLISH`);
  }
}
