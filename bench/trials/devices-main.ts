/** `devices.ts` as a process of its own. */
import { Devices, type DevicesJob } from './devices.js';

export type Order =
  | { readonly do: 'be'; readonly job: DevicesJob }
  | { readonly do: 'come' | 'subscribe' | 'visit'; readonly atOnce: number }
  | { readonly do: 'leave'; readonly how: 'disconnect' | 'cut'; readonly atOnce: number }
  | { readonly do: 'storm'; readonly patienceMs: number };

export type Report = { readonly done: unknown } | { readonly failed: string };

let devices: Devices | undefined;

async function carryOut(order: Order): Promise<unknown> {
  switch (order.do) {
    case 'be':
      devices = new Devices(order.job);
      return undefined;
    case 'come':
      return devices!.come(order.atOnce);
    case 'subscribe':
      return devices!.subscribe(order.atOnce);
    case 'visit':
      return devices!.visit(order.atOnce);
    case 'leave':
      return devices!.leave(order.how, order.atOnce);
    case 'storm':
      return devices!.storm(order.patienceMs);
  }
}

process.on('message', (order: Order) => {
  void carryOut(order).then(
    (done) => process.send!({ done } satisfies Report),
    (error: Error) => process.send!({ failed: error.message } satisfies Report),
  );
});
