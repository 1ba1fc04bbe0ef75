/** The door of the message room: the record that travels between rooms, on which terms, and what became of it. */
export {
  deliveryBytes,
  emptyBytes,
  Message,
  type Origin,
  type OriginName,
  type QoS,
  type Settlement,
  storedDeliveryBytes,
  type TopicName,
  topicName,
} from './application-message.js';
export { type DeliveryTerms, type Leaver, type Meters, newMeters, type SharedOrigin } from './terms.js';
export { bothReceipts, handedOn, noSubscribers, PendingReceipt, type Receipt, settled } from './receipt.js';
