/** Ports of a broker's container, and those that clients see at the load balancer. */
export const brokerPorts = { mqtt: 1883, mqtts: 8883, ws: 8080, health: 9090 } as const;
export const clientPorts = { mqtts: 8883, wss: 443 } as const;
export const webSocketPath = '/mqtt';
export const healthPath = '/healthz';

/**
 * From SIGTERM: how long a broker may take to send its clients away. Where nobody else serves they cannot come back before
 * it has ended, and a long drain is a long gap.
 */
export const drainSeconds = { clustered: 100, alone: 20 } as const;
/** When it is killed; Fargate waits no longer. */
export const stopTimeoutSeconds = 120;
