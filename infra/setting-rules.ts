/**
 * What each setting may be, and which do not go together. A rule reads a value as it comes from a stage file (JSON) or
 * from the command line (always text), and gives undefined for one that cannot be used.
 */
import { isIPv4 } from 'node:net';
import type { Stage } from './stages.js';

export interface SettingRule<T> {
  /** After "is not". */
  readonly words: string;
  read(value: unknown): T | undefined;
}

/** CloudWatch Logs takes these and no others. */
const retentionDays = [
  1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3653,
];

/** Fargate's pairs: CPU units to MiB, from, to and step. */
const taskSizes: Readonly<Record<number, { readonly from: number; readonly to: number; readonly step: number }>> = {
  256: { from: 512, to: 2048, step: 512 }, // 1536 is the one that does not exist, see `isTaskSize`
  512: { from: 1024, to: 4096, step: 1024 },
  1024: { from: 2048, to: 8192, step: 1024 },
  2048: { from: 4096, to: 16_384, step: 1024 },
  4096: { from: 8192, to: 30_720, step: 1024 },
};

/** An NLB without client addresses has 55 000 ports for each address and port of a task; a tenth is left for closing ones. */
const connectionsPerTargetMax = 50_000;
/** Fixed by AWS for TLS listeners. */
const tlsIdleSeconds = 350;

/** EC2 refuses a range with bits beyond its length, too, but says so itself. */
function isCidr(value: string): boolean {
  const [, address, bits] = /^([\d.]+)\/(\d{1,2})$/.exec(value) ?? [];
  return isIPv4(address ?? '') && Number(bits) <= 32;
}

const domain = /^(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$/;

export const settingRules: { readonly [Name in keyof Stage]: SettingRule<NonNullable<Stage[Name]>> } = {
  name: text(/^[a-z][a-z0-9-]{0,19}$/, 'a name of up to 20 lower case letters, digits and hyphens'),
  tablePrefix: text(/^[a-zA-Z0-9_.-]{1,200}$/, 'made of letters, digits, _ . and -'),
  keepsData: flag(),
  protects: flag(),
  account: text(/^\d{12}$/, 'an AWS account of 12 digits'),
  region: text(/^[a-z]{2}(-[a-z]+)+-\d$/, 'a region such as eu-central-1'),
  availabilityZones: number(2, 3),
  egress: oneOf('endpoints', 'nat'),
  natGateways: number(1, 3),
  clientCidrs: list(isCidr, 'a list of IPv4 ranges such as 203.0.113.0/24'),
  domainName: text(domain, 'a domain name such as mqtt.example.com'),
  apiDomainName: text(domain, 'a domain name such as api.example.com'),
  hostedZoneId: text(/^Z[A-Z0-9]{5,31}$/, 'the id of a Route 53 zone, such as Z0123456789ABCDEFGHIJ'),
  hostedZoneName: text(domain, 'the name of a Route 53 zone, such as example.com'),
  certificateArn: text(/^arn:aws:acm:[a-z0-9-]+:\d{12}:certificate\/[\w-]+$/, 'the ARN of an ACM certificate'),
  apiCertificateArn: text(/^arn:aws:acm:[a-z0-9-]+:\d{12}:certificate\/[\w-]+$/, 'the ARN of an ACM certificate'),
  mqttTls: oneOf('nlb', 'broker'),
  tlsSecretArn: text(
    /^arn:aws:secretsmanager:[a-z0-9-]+:\d{12}:secret:[\w/+=.@-]+-\w{6}$/,
    'the complete ARN of a secret in Secrets Manager',
  ),
  mqttIdleSeconds: number(60, 6000),
  keepAliveSecondsMax: number(10, 65_535),
  brokerImage: text(
    /^\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com\/[a-z0-9/._-]+(:[\w.-]+|@sha256:[0-9a-f]{64})$/,
    'an image in ECR with a tag or digest, <account>.dkr.ecr.<region>.amazonaws.com/<repository>:<tag>',
  ),
  clustered: flag(),
  brokersMin: number(1, 500),
  brokersMax: number(1, 500),
  clusterKeyFirst: oneOf('a', 'b'),
  brokerCpu: number(256, 4096),
  brokerMemoryMiB: number(512, 30_720),
  connectionsMax: number(1, 1_000_000),
  executeCommand: flag(),
  containerInsights: flag(),
  logLevel: oneOf('debug', 'info', 'warn', 'error'),
  apiRatePerSecond: number(1, 10_000),
  apiBurst: number(1, 10_000),
  signUpsPerMinute: number(1, 1_000_000),
  encryption: oneOf('aws-owned', 'customer-managed'),
  logRetentionDays: {
    words: `one of ${retentionDays.join(', ')}`,
    read: (value) => retentionDays.find((days) => String(days) === String(value)),
  },
  alarmEmail: text(/^[^\s@]+@[^\s@]+\.[^\s@]+$/, 'an e-mail address'),
};

/** The first of these that holds, in one line; undefined when all settings fit together. */
export function contradiction(stage: Stage): string | undefined {
  return contradictions.find(([, holds]) => holds(stage))?.[0](stage);
}

/** More than an idle connection takes (docs/memory.md, "A connection"), for not all are idle; a third of the memory is for the rest. */
const connectionKiB = { nlb: 37, broker: 83 } as const;

const connectionsMiB = ({ connectionsMax, mqttTls }: Stage): number =>
  Math.ceil((connectionsMax * connectionKiB[mqttTls] * 1.5) / 1024);

type Contradiction = readonly [(stage: Stage) => string, (stage: Stage) => boolean];

const contradictions: readonly Contradiction[] = [
  [
    (s) => `brokerMemoryMiB=${s.brokerMemoryMiB} is not a size that Fargate offers with brokerCpu=${s.brokerCpu}`,
    (s) => !isTaskSize(s.brokerCpu, s.brokerMemoryMiB),
  ],
  [(s) => `brokersMin=${s.brokersMin} is more than brokersMax=${s.brokersMax}`, (s) => s.brokersMin > s.brokersMax],
  [
    (s) => `brokersMax=${s.brokersMax} needs clustered=true: without it only one broker runs`,
    (s) => !s.clustered && s.brokersMax > 1,
  ],
  [
    (s) => `brokersMin=${s.brokersMin} with clustered=true is too few: one serves and another has to stand by`,
    (s) => s.clustered && s.brokersMin < 2,
  ],
  [
    () => 'clusterKeyFirst=b needs clustered=true: without it there is no key',
    (s) => !s.clustered && s.clusterKeyFirst === 'b',
  ],
  [
    () => 'tlsSecretArn is needed with mqttTls=broker: the broker terminates TLS with its certificate',
    (s) => s.mqttTls === 'broker' && s.tlsSecretArn === undefined,
  ],
  [
    () => 'tlsSecretArn has no effect with mqttTls=nlb: the load balancer uses certificateArn',
    (s) => s.mqttTls === 'nlb' && s.tlsSecretArn !== undefined,
  ],
  [
    (s) =>
      `mqttIdleSeconds=${s.mqttIdleSeconds} needs mqttTls=broker: AWS fixes it at ${tlsIdleSeconds} for listeners with TLS`,
    (s) => s.mqttTls === 'nlb' && s.mqttIdleSeconds !== tlsIdleSeconds,
  ],
  [
    (s) =>
      `keepAliveSecondsMax=${s.keepAliveSecondsMax} is not below ${idleSecondsMin(s)} s, after which the load balancer cuts idle connections`,
    (s) => s.keepAliveSecondsMax >= idleSecondsMin(s),
  ],
  [
    (s) =>
      `connectionsMax=${s.connectionsMax} is more than the ${connectionsPerTargetMax} that a load balancer can open to a task`,
    (s) => s.connectionsMax > connectionsPerTargetMax,
  ],
  [
    (s) =>
      `connectionsMax=${s.connectionsMax} with mqttTls=${s.mqttTls} needs a brokerMemoryMiB of at least ${connectionsMiB(s)}`,
    (s) => connectionsMiB(s) > s.brokerMemoryMiB,
  ],
  [
    (s) => `natGateways=${s.natGateways} is more than availabilityZones=${s.availabilityZones}`,
    (s) => s.egress === 'nat' && s.natGateways > s.availabilityZones,
  ],
  [
    () => 'executeCommand=true needs keepsData=false: no shell is allowed next to production data',
    (s) => s.executeCommand && s.keepsData,
  ],
  [
    (s) =>
      `brokerImage is in ${s.brokerImage?.split('.')[3]}, which egress=endpoints does not reach from region=${s.region}`,
    (s) =>
      s.egress === 'endpoints' &&
      s.region !== undefined &&
      s.brokerImage !== undefined &&
      s.brokerImage.split('.')[3] !== s.region,
  ],
  [
    () => 'encryption=customer-managed needs region: the key of a table is named in its region',
    (s) => s.encryption === 'customer-managed' && s.region === undefined,
  ],
  [
    () => 'hostedZoneId and hostedZoneName belong together: set both or neither',
    (s) => (s.hostedZoneId === undefined) !== (s.hostedZoneName === undefined),
  ],
  [
    () => 'hostedZoneId needs domainName: the name to create in the zone',
    (s) => s.hostedZoneId !== undefined && s.domainName === undefined,
  ],
  ...(['domainName', 'apiDomainName'] as const).map((name): Contradiction => [
    (s) => `${name}=${s[name]} is not in hostedZoneName=${s.hostedZoneName}`,
    (s) => s.hostedZoneName !== undefined && s[name] !== undefined && !isIn(s[name], s.hostedZoneName),
  ]),
  [
    (s) => `apiDomainName=${s.apiDomainName} is the same as domainName: the API and the brokers need separate names`,
    (s) => s.apiDomainName !== undefined && s.apiDomainName === s.domainName,
  ],
  [
    () => 'apiCertificateArn has no effect without apiDomainName',
    (s) => s.apiCertificateArn !== undefined && s.apiDomainName === undefined,
  ],
  [
    (s) => `apiDomainName=${s.apiDomainName} needs apiCertificateArn, or hostedZoneId to make one`,
    (s) => s.apiDomainName !== undefined && s.apiCertificateArn === undefined && s.hostedZoneId === undefined,
  ],
  ...(['certificateArn', 'apiCertificateArn', 'tlsSecretArn'] as const).map((name): Contradiction => [
    (s) => `${name} is in ${s[name]?.split(':')[3]}, not in region=${s.region}`,
    (s) => s.region !== undefined && s[name] !== undefined && s[name].split(':')[3] !== s.region,
  ]),
];

/** 443 has TLS at the load balancer in any case. */
function idleSecondsMin(stage: Stage): number {
  return Math.min(stage.mqttIdleSeconds, tlsIdleSeconds);
}

function isTaskSize(cpu: number, memoryMiB: number): boolean {
  const size = taskSizes[cpu];
  if (!size || (cpu === 256 && memoryMiB === 1536)) return false;
  return memoryMiB >= size.from && memoryMiB <= size.to && (memoryMiB - size.from) % size.step === 0;
}

function isIn(name: string, zone: string): boolean {
  return name === zone || name.endsWith(`.${zone}`);
}

function text(pattern: RegExp, words: string): SettingRule<string> {
  return { words, read: (value) => (typeof value === 'string' && pattern.test(value) ? value : undefined) };
}

function oneOf<const T extends string>(...values: readonly T[]): SettingRule<T> {
  return { words: `one of ${values.join(', ')}`, read: (value) => values.find((one) => one === value) };
}

function flag(): SettingRule<boolean> {
  return {
    words: 'true or false',
    read: (value) =>
      value === true || value === 'true' ? true : value === false || value === 'false' ? false : undefined,
  };
}

function number(min: number, max: number): SettingRule<number> {
  return {
    words: `a whole number from ${min} to ${max}`,
    read(value) {
      const read = typeof value === 'string' && /^\d{1,9}$/.test(value) ? Number(value) : value;
      return Number.isInteger(read) && (read as number) >= min && (read as number) <= max
        ? (read as number)
        : undefined;
    },
  };
}

/** On the command line: comma-separated. */
function list(isItem: (text: string) => boolean, words: string): SettingRule<readonly string[]> {
  return {
    words,
    read(value) {
      const items: unknown = typeof value === 'string' ? value.split(',') : value;
      const isList = Array.isArray(items) && items.length > 0;
      return isList && items.every((item) => typeof item === 'string' && isItem(item))
        ? (items as string[])
        : undefined;
    },
  };
}
