/** The door of the codec: bytes to packets and back. Knows no sessions and no tenants. */
export { encodeConnack, encodeDisconnect, encodeRefusal, encodeSuback, encodeUnsuback, pingresp } from './encode.js';
export { type Speech, speechOf } from './first-bytes.js';
export { packetEnd } from './packet-end.js';
export {
  type AckType,
  type ConnectPacket,
  type ControlPacket,
  type DisconnectPacket,
  packetType,
  type ProtocolVersion,
  type SubscribePacket,
  type SubscriptionRequest,
  type UnsubscribePacket,
  type WillPacket,
} from './packets.js';
export { encodeProperties, type Properties } from './properties.js';
export { type InboundPublish, PacketReader, type PacketSink } from './reader.js';
export { PeerFault, protocolError, type Reason, reasons, reasonWords } from './reasons.js';
export { Slab } from './slab.js';
export { TopicTable } from './topic-table.js';
export { publishBytes, type PublishForm, writeAck, writePublish } from './write-publish.js';
