/** All conformance tables. */
import type { Table } from './row.js';
import { accessRows, v3Rows } from './shoal/access.js';
import { bridgeRows, bridgeRowsV3 } from './shoal/bridges.js';
import { connectingRows } from './shoal/connecting.js';
import { oldClientRows } from './shoal/old-clients.js';
import { messageRows, sharingRows, strictRows, strictRowsV3 } from './shoal/messages.js';
import { edgeRows, quotaRows, reconnectRows } from './shoal/edges.js';
import * as shoalSessions from './shoal/sessions.js';
import * as v3Connect from './v3/connect.js';
import * as v3Payload from './v3/connect-payload.js';
import * as v3Data from './v3/data.js';
import * as v3Operation from './v3/operation.js';
import * as v3Publish from './v3/publish.js';
import { acknowledgementRows } from './v5/acknowledgements.js';
import { connackRows } from './v5/connack.js';
import { connectRows } from './v5/connect.js';
import { connectPayloadRows } from './v5/connect-payload.js';
import { dataRows } from './v5/data.js';
import { authenticationRows, authRows, disconnectRows } from './v5/disconnect.js';
import { deliveryRows, sessionRows } from './v5/operation.js';
import { publishRows } from './v5/publish.js';
import { publishActionRows, publishOnceRows } from './v5/publish-actions.js';
import { subscribeOptionRows, subscribeRows } from './v5/subscribe.js';
import { errorRows, flowRows, sharedRows, topicRows } from './v5/topics.js';
import { webSocketRows } from './v5/websocket.js';

export const tables: Table[] = [
  {
    key: 'v5',
    title: 'MQTT 5.0',
    level: 5,
    rows: [
      ...dataRows,
      ...connectRows,
      ...connectPayloadRows,
      ...connackRows,
      ...publishRows,
      ...publishActionRows,
      ...acknowledgementRows,
      ...subscribeRows,
      ...disconnectRows,
      ...authRows,
      ...sessionRows,
      ...deliveryRows,
      ...topicRows,
      ...sharedRows,
      ...flowRows,
      ...authenticationRows,
      ...errorRows,
      ...webSocketRows,
    ],
  },
  {
    key: 'v3',
    title: 'MQTT 3.1.1',
    level: 4,
    rows: [
      ...v3Data.dataRows,
      ...v3Connect.connectRows,
      ...v3Payload.connectPayloadRows,
      ...v3Payload.connackRows,
      ...v3Publish.publishRows,
      ...v3Publish.subscribeRows,
      ...v3Operation.operationRows,
    ],
  },
  {
    key: 'shoal',
    title: 'Beyond the numbered statements, MQTT 5.0',
    level: 5,
    rows: [
      ...strictRows,
      ...connectingRows,
      ...shoalSessions.sessionRows,
      ...shoalSessions.willRows,
      ...publishOnceRows,
      ...messageRows,
      ...subscribeOptionRows,
      ...sharingRows,
      ...accessRows,
      ...quotaRows,
      ...reconnectRows,
      ...edgeRows,
      ...bridgeRows,
    ],
  },
  {
    key: 'shoal',
    title: 'Beyond the numbered statements, MQTT 3.1 and 3.1.1',
    level: 4,
    rows: [...strictRowsV3, ...v3Rows, ...oldClientRows, ...bridgeRowsV3],
  },
];
