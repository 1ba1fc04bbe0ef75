/** MQTT 5.0 and 3.1.1, chapter 6: MQTT over WebSocket. */
import type { Row } from '../row.js';
import * as webSocket from '../scenarios/websocket.js';

export const webSocketRows: Row[] = [
  {
    id: 'MQTT-6.0.0-1',
    says: 'packets are in binary frames; a text frame ends the connection',
    binds: 'both',
    test: webSocket.textFrameCloses,
  },
  {
    id: 'MQTT-6.0.0-2',
    says: 'packets and frames need not begin and end together',
    binds: 'both',
    test: webSocket.framesAreNotPackets,
  },
  {
    id: 'MQTT-6.0.0-3',
    says: 'the client offers the subprotocol mqtt; without it there is no connection',
    binds: 'client',
    test: webSocket.otherSubprotocolRefused,
  },
  { id: 'MQTT-6.0.0-4', says: 'the server selects the subprotocol mqtt', binds: 'server', test: webSocket.selectsMqtt },
];
