/** All conformance tables. */
import type { Table } from './row.js';
import {
  accessRows,
  messageRows,
  sharingRows,
  strictRows,
  strictRowsV3,
  v3Rows as mixedV3Rows,
} from './shoal/messages.js';
import { connectingRows, sessionRows as shoalSessionRows, willRows } from './shoal/sessions.js';
import * as v3Connect from './v3/connect.js';
import * as v3Operation from './v3/operation.js';
import * as v3Publish from './v3/publish.js';
import { acknowledgementRows } from './v5/acknowledgements.js';
import { connectRows } from './v5/connect.js';
import { connackRows, connectPayloadRows } from './v5/connect-payload.js';
import { dataRows } from './v5/data.js';
import { authRows, disconnectRows } from './v5/disconnect.js';
import { deliveryRows, sessionRows } from './v5/operation.js';
import { publishActionRows, publishOnceRows, publishRows } from './v5/publish.js';
import { subscribeOptionRows, subscribeRows } from './v5/subscribe.js';
import { errorRows, flowRows, sharedRows, topicRows } from './v5/topics.js';
import { webSocketRows } from './v5/websocket.js';

const isAuthFlow = (id: string): boolean => id.startsWith('MQTT-4.12');

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
      ...authRows.filter((row) => !isAuthFlow(row.id)),
      ...sessionRows,
      ...deliveryRows,
      ...topicRows,
      ...sharedRows,
      ...flowRows,
      ...authRows.filter((row) => isAuthFlow(row.id)),
      ...errorRows,
      ...webSocketRows,
    ],
  },
  {
    key: 'v3',
    title: 'MQTT 3.1.1',
    level: 4,
    rows: [
      ...v3Connect.dataRows,
      ...v3Connect.connectRows,
      ...v3Connect.connackRows,
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
      ...shoalSessionRows,
      ...willRows,
      ...publishOnceRows,
      ...messageRows,
      ...subscribeOptionRows,
      ...sharingRows,
      ...accessRows,
    ],
  },
  {
    key: 'shoal',
    title: 'Beyond the numbered statements, MQTT 3.1 and 3.1.1',
    level: 4,
    rows: [...strictRowsV3, ...mixedV3Rows],
  },
];
