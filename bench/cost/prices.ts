/**
 * Public list prices that docs/cost.md reckons with: us-east-1, US dollars, no free tiers, discounts or savings plans.
 * `read` says how we know: the provider's page, or somebody who repeats it, and of when. Change a price here, run
 * `npm run cost`, and the document follows.
 */

export interface Price {
  readonly usd: number;
  readonly of: string;
  /** Where the provider publishes it. */
  readonly page: string;
  readonly read: string;
}

const priceList = <Name extends string>(list: Readonly<Record<Name, Price>>): Readonly<Record<Name, Price>> => list;

const elb = 'https://aws.amazon.com/elasticloadbalancing/pricing/';
const fargate = 'https://aws.amazon.com/fargate/pricing/';
const dynamodb = 'https://aws.amazon.com/dynamodb/pricing/on-demand/';
const transfer = 'https://aws.amazon.com/ec2/pricing/on-demand/';
const cloudWatch = 'https://aws.amazon.com/cloudwatch/pricing/';
const vpc = 'https://aws.amazon.com/vpc/pricing/';
const iotCore = 'https://aws.amazon.com/iot-core/pricing/';
const emqx = 'https://docs.emqx.com/en/cloud/latest/price/pricing.html';

const evangelist = 'https://raw.githubusercontent.com/api-evangelist';
const vpcQuoted = 'https://www.factualminds.com/blog/amazon-vpc-pricing-endpoints-peering-transit-gateway/';
const tiersQuoted = 'https://wring.co/blog/aws-data-transfer-pricing-guide';
const transferQuoted = 'https://leanopstech.com/blog/aws-data-transfer-pricing-2026/';
const iotTiersQuoted = 'https://iotclass.org/analytics-ml/cloud-foundations.html';

const quoted = (at: string, when: string): string => `[quoted](${at}), ${when}`;
/** Its tables are filled in by scripts, so that only prices in its examples can be transcribed. */
const transcribed = (name: string, when: string): string =>
  `[transcribed](${evangelist}/${name}/refs/heads/main/plans/${name}-plans-pricing.yml), ${when}`;
const fargateQuoted = quoted('https://www.vantage.sh/blog/fargate-pricing', 'undated');
const dynamodbQuoted = quoted('https://airbyte.com/data-engineering-resources/dynamodb-pricing', '2025-07');
const iotTranscribed = `${transcribed('amazon-iot-core', '2026-09-20')}, an example for Ireland`;
const iotTiers = `not confirmed ([quoted](${iotTiersQuoted}) with another boundary)`;

export const prices = priceList({
  vcpuHour: { usd: 0.03238, of: 'Fargate, ARM64: vCPU and hour', page: fargate, read: fargateQuoted },
  memoryGbHour: { usd: 0.00356, of: 'Fargate, ARM64: GB and hour', page: fargate, read: fargateQuoted },
  loadBalancerHour: {
    usd: 0.0225,
    of: 'Network Load Balancer, hour',
    page: elb,
    read: quoted('https://clustercost.com/blog/network-load-balancer-pricing-2025', '2025'),
  },
  capacityUnitHour: {
    usd: 0.006,
    of: 'its capacity unit, hour',
    page: elb,
    read: transcribed('amazon-elastic-load-balancing', '2026-09-20'),
  },
  writeUnits: { usd: 0.625, of: 'DynamoDB on demand: million write units', page: dynamodb, read: dynamodbQuoted },
  readUnits: { usd: 0.125, of: 'DynamoDB on demand: million read units', page: dynamodb, read: dynamodbQuoted },
  storageGb: { usd: 0.25, of: 'DynamoDB: GB stored, month', page: dynamodb, read: 'not confirmed' },
  backupGb: { usd: 0.2, of: 'DynamoDB: GB under point-in-time recovery, month', page: dynamodb, read: 'not confirmed' },
  outGb10Tb: {
    usd: 0.09,
    of: 'GB to the internet, first 10 TB',
    page: transfer,
    read: quoted(transferQuoted, '2026-04'),
  },
  outGb50Tb: {
    usd: 0.085,
    of: 'GB to the internet, next 40 TB',
    page: transfer,
    read: quoted(transferQuoted, '2026-04'),
  },
  outGb150Tb: { usd: 0.07, of: 'GB to the internet, next 100 TB', page: transfer, read: quoted(tiersQuoted, '2026') },
  outGbMore: { usd: 0.05, of: 'GB to the internet, above 150 TB', page: transfer, read: quoted(tiersQuoted, '2026') },
  zoneGb: {
    usd: 0.02,
    of: 'GB from zone to zone, both ends together',
    page: transfer,
    read: quoted(transferQuoted, '2026-04'),
  },
  addressHour: { usd: 0.005, of: 'public IPv4 address, hour', page: vpc, read: quoted(vpcQuoted, '2026-06') },
  endpointHour: {
    usd: 0.01,
    of: 'interface endpoint, hour and zone',
    page: 'https://aws.amazon.com/privatelink/pricing/',
    read: quoted(vpcQuoted, '2026-06'),
  },
  metric: { usd: 0.3, of: 'CloudWatch: metric, month', page: cloudWatch, read: transcribed('cloudwatch', '2026-05') },
  alarm: { usd: 0.1, of: 'CloudWatch: alarm, month', page: cloudWatch, read: transcribed('cloudwatch', '2026-05') },
  dashboard: {
    usd: 3,
    of: 'CloudWatch: dashboard, month',
    page: cloudWatch,
    read: quoted('https://github.com/nishinoshake/aws-rough/issues/37', '2022'),
  },
  secret: {
    usd: 0.4,
    of: 'Secrets Manager: secret, month',
    page: 'https://aws.amazon.com/secrets-manager/pricing/',
    read: 'not confirmed',
  },
  logGb: {
    usd: 0.5,
    of: 'CloudWatch: GB of log taken in',
    page: cloudWatch,
    read: transcribed('cloudwatch', '2026-05'),
  },
  iotMinutes: {
    usd: 0.08,
    of: 'AWS IoT Core: million connection minutes',
    page: iotCore,
    read: iotTranscribed,
  },
  iotMessages1G: {
    usd: 1,
    of: 'AWS IoT Core: million messages, first 1000 million',
    page: iotCore,
    read: iotTranscribed,
  },
  iotMessages5G: {
    usd: 0.8,
    of: 'AWS IoT Core: million messages, next 4000 million',
    page: iotCore,
    read: iotTiers,
  },
  iotMessagesMore: {
    usd: 0.7,
    of: 'AWS IoT Core: million messages, above 5000 million',
    page: iotCore,
    read: iotTiers,
  },
  iotRule: {
    usd: 0.3,
    of: 'AWS IoT Core: million times a rule and its one action',
    page: iotCore,
    read: 'not confirmed',
  },
  emqxMinutes: {
    usd: 2,
    of: 'EMQX Serverless: million session minutes',
    page: emqx,
    read: 'that page, in an undated copy',
  },
  emqxGb: { usd: 0.15, of: 'EMQX Serverless: GB in and out', page: emqx, read: 'that page, in an undated copy' },
});

/** What a capacity unit of the load balancer holds; the dimension that takes the most units is paid for. */
export const capacityUnit = {
  tls: { newPerSecond: 50, active: 3000, gbPerHour: 1 },
  tcp: { newPerSecond: 800, active: 100_000, gbPerHour: 1 },
} as const;
