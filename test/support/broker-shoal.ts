/** The real stack behind the TestBroker interface. */
import type { TestBroker } from './broker.js';

export function startShoal(): Promise<TestBroker> {
  return Promise.reject(new Error('the broker is not here yet: set CONFORMANCE_TARGET=mosquitto'));
}
