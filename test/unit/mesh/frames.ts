/** What releases have sent over links, byte for byte. Rows are added, never changed: each is read for ever. */
import type { Hello } from '../../../services/broker/mesh/frames/v1.js';

type Says =
  /** `isLater`: of a release that appends to it; this one does not write it. */
  | { readonly hello: Hello; readonly isLater?: true }
  | { readonly type: 'ping' | 'pong' | 'credit'; readonly number: number }
  | { readonly code: number }
  | { readonly content: number; readonly body: string };

const hello: Hello = {
  ...{ min: 1, max: 1, purpose: 'link', incarnation: 7 },
  ...{ from: 'broker-a', to: 'broker-b', cluster: 'shoal-', address: '10.0.0.1:7883' },
};
const helloHex =
  '0153484c4b0101000000000000070862726f6b65722d610862726f6b65722d620673686f616c2d0d31302e302e302e313a37383833';

export const sentFrames: readonly { readonly name: string; readonly hex: string; readonly says: Says }[] = [
  { name: 'hello', hex: `00000035${helloHex}`, says: { hello } },
  { name: 'hello of a later version', hex: `00000038${helloHex}a1b2c3`, says: { hello, isLater: true } },
  {
    name: 'knock',
    hex:
      '000000370153484c4b0209010100000000030962726f6b65722dc3a90862726f6b65722d62' +
      '0673686f616c2d0e5b666430303a3a315d3a37383833',
    says: {
      hello: {
        ...{ ...hello, min: 2, max: 9, purpose: 'knock', incarnation: 2 ** 40 + 3 },
        ...{ from: 'broker-é', address: '[fd00::1]:7883' },
      },
    },
  },
  { name: 'ping', hex: '000000050200000001', says: { type: 'ping', number: 1 } },
  { name: 'pong', hex: '0000000503fffffffe', says: { type: 'pong', number: 0xffff_fffe } },
  { name: 'credit', hex: '000000050400100004', says: { type: 'credit', number: (1 << 20) + 4 } },
  { name: 'bye', hex: '000000020510', says: { code: 16 } },
  {
    name: 'content',
    hex: '0000000820636f6e74656e74',
    says: { content: 0x20, body: '636f6e74656e74' },
  },
];
