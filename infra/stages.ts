/**
 * What may differ between installations of Shoal, typed, with the values of each stage. `npx cdk deploy -c stage=prod`
 * takes a column of the table below; `-c <setting>=<value>` or a stage file change some of it (`settings.ts`, which also
 * says which values fit together). Everything else is the same everywhere.
 */

/** Who terminates TLS on port 8883: the load balancer, or the broker behind a listener that passes bytes through. */
export type MqttTls = 'nlb' | 'broker';
/** How tasks without a public address reach AWS: through interface endpoints, or through NAT gateways to the internet. */
export type Egress = 'endpoints' | 'nat';
/** Whose key encrypts tables and secrets at rest; they are encrypted in any case. */
export type Encryption = 'aws-owned' | 'customer-managed';

export interface Stage {
  /** Part of every stack's name: lower case letters, digits and `-`. */
  readonly name: string;
  /** Before the name of every table, so that stages can share an account. */
  readonly tablePrefix: string;
  /** Data, logs and secrets survive a deleted stack. */
  readonly keepsData: boolean;
  /**
   * Where data is kept, tables, stacks and load balancer refuse to be deleted. False for the very first deployment: if that fails,
   * what it has made must go before it can be tried again.
   */
  readonly protects: boolean;
  /** Undefined: those of the credentials that deploy. */
  readonly account: string | undefined;
  readonly region: string | undefined;

  /** Two or three. */
  readonly availabilityZones: number;
  readonly egress: Egress;
  /** NAT gateways, if there are any: one is cheap, one for each zone survives the loss of a zone. */
  readonly natGateways: number;
  /** The networks from which clients may connect. */
  readonly clientCidrs: readonly string[];

  /** The name that devices connect to; undefined: the load balancer's own. */
  readonly domainName: string | undefined;
  /** The name of the tenant API; undefined: the gateway's own. */
  readonly apiDomainName: string | undefined;
  /** The Route 53 zone of these names: records and certificates are made in it. Undefined: you make them. */
  readonly hostedZoneId: string | undefined;
  readonly hostedZoneName: string | undefined;
  /** An ACM certificate for `domainName`; without it, and without a zone, the broker stack asks for one when it is deployed. */
  readonly certificateArn: string | undefined;
  /** The same for `apiDomainName`. */
  readonly apiCertificateArn: string | undefined;

  readonly mqttTls: MqttTls;
  /** With `mqttTls: broker`: a secret whose JSON has `cert` and `key`, both PEM. */
  readonly tlsSecretArn: string | undefined;
  /** How long a connection to 8883 may be silent before the load balancer cuts it. Fixed at 350 while it terminates TLS. */
  readonly mqttIdleSeconds: number;
  /** Server Keep Alive: the longest keep alive an MQTT 5 client is granted. Below the idle time-outs, or idle clients are cut. */
  readonly keepAliveSecondsMax: number;

  /** `<account>.dkr.ecr.<region>.amazonaws.com/<repository>:<tag>`, or `@sha256:<digest>`; undefined: built from the Dockerfile at deployment. */
  readonly brokerImage: string | undefined;
  /**
   * Several tasks, linked to each other. In this release one of them serves and the others stand by, to take over within seconds.
   * False: exactly one task runs.
   */
  readonly clustered: boolean;
  /** Of a cluster: two at least, and so many if nothing else is said. */
  readonly brokersMin: number;
  readonly brokersMax: number;
  /**
   * Which of its two keys a broker of a cluster shows others; it accepts both. To renew a key, change to the other first
   * (docs/runbook.md, "Renew the cluster keys").
   */
  readonly clusterKeyFirst: 'a' | 'b';
  /** CPU units (1024 are one processor) and MiB of a task; Fargate accepts only certain pairs. */
  readonly brokerCpu: number;
  readonly brokerMemoryMiB: number;
  /** Connections that a task accepts. */
  readonly connectionsMax: number;
  /** A shell in a running task. Needs a writable root file system, so it is not allowed where data is kept. */
  readonly executeCommand: boolean;
  readonly containerInsights: boolean;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';

  /** Requests to the tenant API: the average per second, and the burst. */
  readonly apiRatePerSecond: number;
  readonly apiBurst: number;
  readonly signUpsPerMinute: number;

  readonly encryption: Encryption;
  readonly logRetentionDays: number;
  /** Address that gets alarms; undefined: subscribe to the topic yourself. */
  readonly alarmEmail: string | undefined;
}

const everywhere = {
  protects: true,
  account: undefined,
  region: undefined,
  availabilityZones: 2,
  natGateways: 1,
  clientCidrs: ['0.0.0.0/0'],
  domainName: undefined,
  apiDomainName: undefined,
  hostedZoneId: undefined,
  hostedZoneName: undefined,
  certificateArn: undefined,
  apiCertificateArn: undefined,
  mqttTls: 'nlb',
  tlsSecretArn: undefined,
  mqttIdleSeconds: 350,
  keepAliveSecondsMax: 300,
  brokerImage: undefined,
  clustered: false,
  brokersMin: 1,
  brokersMax: 1,
  clusterKeyFirst: 'a',
  executeCommand: false,
  logLevel: 'info',
  signUpsPerMinute: 60,
  encryption: 'aws-owned',
  alarmEmail: undefined,
} as const satisfies Partial<Stage>;

export const stages = {
  /** Small, cheap and gone without a trace when its stacks are deleted. */
  dev: {
    ...everywhere,
    name: 'dev',
    tablePrefix: 'shoal-dev-',
    keepsData: false,
    egress: 'nat', // one gateway costs less than the three endpoints in two zones that are needed
    brokerCpu: 256,
    brokerMemoryMiB: 512,
    connectionsMax: 5_000,
    containerInsights: false,
    apiRatePerSecond: 20,
    apiBurst: 40,
    logRetentionDays: 7,
  },
  prod: {
    ...everywhere,
    name: 'prod',
    tablePrefix: 'shoal-',
    keepsData: true,
    egress: 'endpoints', // no way to the internet at all, and cheaper than a NAT gateway in each zone
    brokerCpu: 1024, // one thread does the work; more only helps the garbage collector
    brokerMemoryMiB: 4096,
    connectionsMax: 50_000,
    containerInsights: true,
    apiRatePerSecond: 100,
    apiBurst: 200,
    logRetentionDays: 90,
  },
} as const satisfies Record<string, Stage>;
