/**
 * Not a broker: the least that a program for Node.js can do for clients that come, subscribe and leave, if each of these is one
 * signed request to DynamoDB. It accepts, looks at the first byte of a packet, sends a request as large as Shoal's over a socket
 * that stays open, parses the answer and answers. It checks nothing, remembers nothing, limits nothing. What Shoal takes more is
 * its own; what this takes more than mosquitto is Node.js and the promise that a client has a record.
 */
import { createHmac, createSecretKey, hash } from 'node:crypto';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

const databasePort = Number(process.env['FLOOR_DATABASE_PORT']);
const connack = Buffer.from([0x20, 3, 0, 0, 0]);
const suback = Buffer.from([0x90, 4, 0, 1, 0, 1]);
const key = createSecretKey(Buffer.alloc(32, 7));
const scope = '20261127/eu-central-1/dynamodb/aws4_request';

/** Attributes like those of a session record, in an update like that of a claim: 1.4 KB. */
const fields = Object.fromEntries(
  [
    'userName',
    'protocolVersion',
    'address',
    'connected',
    'connectedAtMs',
    'keepAlive',
    'expiry',
    'queued',
    'dropped',
    'v',
    'tenant',
  ].map((name, i) => [`:f${i}`, { S: `${name} and its value` }]),
);
const names = Object.fromEntries(
  Object.keys(fields).map((name) => [`#${name.slice(1)}`, `attribute_${name.slice(1)}`]),
);
const sets = Object.keys(fields).map((name) => `#${name.slice(1)} = ${name}`);
const claimEnd = JSON.stringify({
  UpdateExpression: `SET ${sets.join(', ')}, #epoch = if_not_exists(#epoch, :base) + :one REMOVE #r0, #r1, #r2, #r3, #r4`,
  ReturnValues: 'ALL_NEW',
  ConditionExpression: 'attribute_not_exists(#owner) OR #owner = :me AND #epoch >= :floor',
  ExpressionAttributeNames: {
    ...names,
    '#epoch': 'epoch',
    '#owner': 'owner',
    ...Object.fromEntries(
      ['disconnectedAtMs', 'ttl', 'will', 'willAtMs', 'willEpoch'].map((name, i) => [`#r${i}`, name]),
    ),
  },
  ExpressionAttributeValues: {
    ...fields,
    ':base': { N: '1' },
    ':one': { N: '1' },
    ':me': { S: 'me' },
    ':floor': { N: '0' },
  },
}).slice(1);

const keyOf = (id: number): string =>
  `"ReturnConsumedCapacity":"TOTAL","TableName":"floor","Key":{"pk":{"S":"tenant#0123456789"},"sk":{"S":"device-${id}"}}`;
const claim = (id: number): string => `{${keyOf(id)},${claimEnd}`;
const put = (id: number): string => `{${keyOf(id).replace('"Key":', '"Item":')}}`;
const remove = (id: number): string => `{${keyOf(id)}}`;

const idle: Link[] = [];
const readBuffer = Buffer.allocUnsafeSlow(1 << 16);

class Link {
  readonly #socket: Socket;
  #then: () => void = () => undefined;

  constructor() {
    const onread = { buffer: readBuffer, callback: (length: number) => this.#read(length) };
    this.#socket = connect({ host: '127.0.0.1', port: databasePort, noDelay: true, onread });
  }

  ask(action: string, body: string, then: () => void): void {
    this.#then = then;
    this.#socket.write(signed(action, body), 'latin1');
  }

  #read(length: number): boolean {
    const text = readBuffer.toString('latin1', 0, length);
    if (!text.startsWith('HTTP/1.1 200')) throw new Error(text);
    JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4));
    idle.push(this);
    this.#then();
    return true;
  }
}

function signed(action: string, body: string): string {
  const target = `DynamoDB_20120810.${action}`;
  const canonical = `POST\n/\n\ncontent-type:application/x-amz-json-1.0\nhost:127.0.0.1:${databasePort}\nx-amz-date:20261127T012345Z\nx-amz-target:${target}\n\nall\n${hash('sha256', body)}`;
  const signature = createHmac('sha256', key)
    .update(`AWS4-HMAC-SHA256\n${scope}\n${hash('sha256', canonical)}`)
    .digest('hex');
  return `POST / HTTP/1.1\r\nhost: 127.0.0.1:${databasePort}\r\ncontent-type: application/x-amz-json-1.0\r\nx-amz-date: 20261127T012345Z\r\nx-amz-target: ${target}\r\nauthorization: AWS4-HMAC-SHA256 Credential=embedded/${scope}, SignedHeaders=all, Signature=${signature}\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
}

function ask(action: string, body: string, then: () => void): void {
  (idle.pop() ?? new Link()).ask(action, body, then);
}

let came = 0;
const server = createServer({ noDelay: true }, (socket) => {
  const id = came++;
  socket.on('error', () => socket.destroy());
  socket.on('close', () => ask('DeleteItem', remove(id), () => undefined));
  socket.on('data', (packet) => {
    if (packet[0] === 0x10) ask('UpdateItem', claim(id), () => void socket.write(connack));
    else if (packet[0] === 0x82) ask('PutItem', put(id), () => void socket.write(suback));
    else socket.destroy();
  });
});

const table = JSON.stringify({
  TableName: 'floor',
  BillingMode: 'PAY_PER_REQUEST',
  KeySchema: [
    { AttributeName: 'pk', KeyType: 'HASH' },
    { AttributeName: 'sk', KeyType: 'RANGE' },
  ],
  AttributeDefinitions: ['pk', 'sk'].map((AttributeName) => ({ AttributeName, AttributeType: 'S' })),
});
ask('CreateTable', table, () =>
  server.listen(0, '127.0.0.1', () => process.send!({ port: (server.address() as AddressInfo).port })),
);
