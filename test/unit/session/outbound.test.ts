/** Both kinds of `Outbound` keep their contract. What is one kind's own: `clean-outbound.test.ts`, `durable-outbound.test.ts`. */
import { outboundContract } from './outbound.contract.js';
import { outboundKinds } from './outbound-kinds.js';

for (const kind of outboundKinds) outboundContract(kind);
