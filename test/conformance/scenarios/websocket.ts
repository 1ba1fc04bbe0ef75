/** MQTT over WebSocket: framing and subprotocol, in every version. */
import { bytes, connectBytes } from '../../support/packet-bytes.js';
import { WebSocket } from 'ws';
import { decode, frameBytes, type Packet } from '../../support/packet-codec.js';
import { until } from '../../support/until.js';
import type { Trial } from '../trial.js';

interface Open {
  socket: WebSocket;
  /** Every packet that has come so far. */
  packets: Packet[];
  closed: () => boolean;
  /** All frames were binary. */
  binary: () => boolean;
}

async function open(t: Trial, protocols: string[] = ['mqtt']): Promise<Open> {
  if (t.broker.wsPort === undefined) throw new Error('the broker has no WebSocket port');
  const socket = new WebSocket(`ws://127.0.0.1:${t.broker.wsPort}/mqtt`, protocols);
  const packets: Packet[] = [];
  let [rest, binary, closed] = [Buffer.alloc(0), true, false];
  socket.on('message', (data: Buffer, isBinary) => {
    binary &&= isBinary;
    rest = Buffer.concat([rest, data]);
    for (let n = frameBytes(rest); n > 0; n = frameBytes(rest)) {
      packets.push(decode(rest.subarray(0, n), t.level));
      rest = rest.subarray(n);
    }
  });
  socket.on('close', () => (closed = true));
  await new Promise((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
  });
  return { socket, packets, closed: () => closed, binary: () => binary };
}

export async function selectsMqtt(t: Trial): Promise<void> {
  const ws = await open(t, ['other', 'mqtt']);
  if (ws.socket.protocol !== 'mqtt') throw new Error(`selected ${ws.socket.protocol}`);
  ws.socket.terminate();
}

export async function otherSubprotocolRefused(t: Trial): Promise<void> {
  for (const protocols of [['other'], []]) {
    let refused = false;
    try {
      const ws = await open(t, protocols);
      ws.socket.send(connectBytes(t.fields()));
      await until(() => ws.closed() || ws.packets.length > 0, 'an answer');
      refused = ws.packets.length === 0;
      ws.socket.terminate();
    } catch {
      refused = true;
    }
    if (!refused) throw new Error(`accepted subprotocols ${protocols.join()}`);
  }
}

export async function textFrameCloses(t: Trial): Promise<void> {
  const ws = await open(t);
  ws.socket.send(connectBytes(t.fields()));
  await until(() => ws.packets[0]?.cmd === 'connack', 'CONNACK');
  ws.socket.send('c000');
  await until(ws.closed, 'the close');
  if (!ws.binary()) throw new Error('the broker sent a text frame');
}

export async function framesAreNotPackets(t: Trial): Promise<void> {
  const ws = await open(t);
  const subscribe = [bytes.u16(1), ...(t.v5 ? [bytes.properties()] : []), bytes.utf8(t.topic()), bytes.u8(0)];
  const body = [bytes.utf8(t.topic()), ...(t.v5 ? [bytes.properties()] : []), Buffer.from('through')];
  const all = Buffer.concat([
    connectBytes(t.fields()),
    bytes.packet('subscribe', 2, ...subscribe),
    bytes.packet('publish', 0, ...body),
    bytes.packet('pingreq', 0),
  ]);
  // Byte by byte up to the middle, then everything else in one frame.
  const middle = all.length >> 1;
  for (let i = 0; i < middle; i++) ws.socket.send(all.subarray(i, i + 1));
  ws.socket.send(all.subarray(middle));
  await until(() => ws.packets.length === 4, 'four packets');
  const got = ws.packets.map((p) => p.cmd).join();
  if (got !== 'connack,suback,publish,pingresp') throw new Error(got);
  if (String(ws.packets[2]!.payload) !== 'through' || !ws.binary()) throw new Error('the message was changed');
  ws.socket.terminate();
}
