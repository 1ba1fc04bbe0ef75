/**
 * Not a broker: a cable. It answers the handshake and from then on copies what a publisher writes to the subscribers of
 * its topic, and what the first of these writes back to the publisher, without looking at a byte. What the load reaches
 * through it is the load's own ceiling on this machine.
 */
import { createServer, type AddressInfo, type Socket } from 'node:net';

interface Strand {
  publisher?: Socket;
  readonly subscribers: Socket[];
}

const strands = new Map<string, Strand>();
const connack4 = Buffer.from([0x20, 2, 0, 0]);
const connack5 = Buffer.from([0x20, 3, 0, 0, 0]);
/** Bytes before the client identifier's length: fixed header, "MQTT", level, flags, keep alive. */
const connectHeadBytes = 2 + 6 + 1 + 1 + 2;

const server = createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  socket.once('data', (connect) => {
    const isMqtt5 = connect[8] === 5;
    const clientIdAt = connectHeadBytes + (isMqtt5 ? 1 : 0);
    const clientId = connect.toString('utf8', clientIdAt + 2, clientIdAt + 2 + connect.readUInt16BE(clientIdAt));
    const [role, number] = clientId.split('-');
    if (role === 'pub') plugPublisher(socket, strand(`bench/${number}`));
    if (role === 'sub') socket.once('data', (subscribe) => plugSubscriber(socket, subscribe, isMqtt5));
    socket.write(isMqtt5 ? connack5 : connack4);
  });
});
server.listen(0, '127.0.0.1', () => process.send!({ port: (server.address() as AddressInfo).port }));

function strand(topic: string): Strand {
  const found = strands.get(topic) ?? { subscribers: [] };
  strands.set(topic, found);
  return found;
}

function plugPublisher(socket: Socket, own: Strand): void {
  own.publisher = socket;
  socket.on('data', (bytes) => {
    for (const subscriber of own.subscribers) {
      if (subscriber.write(bytes)) continue;
      socket.pause();
      subscriber.once('drain', () => {
        if (own.subscribers.every(({ writableNeedDrain }) => !writableNeedDrain)) socket.resume();
      });
    }
  });
}

function plugSubscriber(socket: Socket, subscribe: Buffer, isMqtt5: boolean): void {
  const topicAt = 4 + (isMqtt5 ? 1 : 0);
  const topic = subscribe.toString('utf8', topicAt + 2, topicAt + 2 + subscribe.readUInt16BE(topicAt));
  const qos = subscribe[subscribe.length - 1]!;
  const own = strand(topic);
  own.subscribers.push(socket);
  socket.on('data', (bytes) => own.publisher?.write(bytes));
  socket.on('close', () => own.subscribers.splice(own.subscribers.indexOf(socket), 1));
  socket.write(Buffer.from(isMqtt5 ? [0x90, 4, 0, 1, 0, qos] : [0x90, 3, 0, 1, qos]));
}
