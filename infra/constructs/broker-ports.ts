/** Ports of a broker's container, and those that clients see at the load balancer. */
export const brokerPorts = { mqtt: 1883, mqtts: 8883, ws: 8080, health: 9090 } as const;
/** Where brokers take links from each other. */
export const linksPort = 7883;
export const clientPorts = { mqtts: 8883, wss: 443 } as const;
export const webSocketPath = '/mqtt';
export const healthPath = '/healthz';

/**
 * From SIGTERM: how long a broker may take to send its clients away. While it lives nobody else serves, in a cluster neither: they
 * cannot come back before it has ended, and a long drain is a long gap.
 */
export const drainSeconds = 20;
/** When it is killed; Fargate waits no longer. */
export const stopTimeoutSeconds = 120;
