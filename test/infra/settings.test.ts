import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type Context, readStage } from '../../infra/settings.js';
import { stages } from '../../infra/stages.js';

const folder = mkdtempSync(join(tmpdir(), 'shoal-settings-'));
afterAll(() => rmSync(folder, { recursive: true }));

function fileWith(text: string): string {
  const path = join(folder, `${Math.trunc(performance.now() * 1000)}.json`);
  writeFileSync(path, text);
  return path;
}

const secret = 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:shoal-tls-a1B2c3';
const certificate = 'arn:aws:acm:eu-central-1:123456789012:certificate/0b1c2d3e';

describe('the settings of a stage', () => {
  it('are those of the table when nothing else is said', () => {
    expect(readStage({})).toEqual(stages.dev);
    expect(readStage({ stage: 'prod' })).toEqual(stages.prod);
  });

  it('are overridden by a stage file, and that by context', () => {
    const stageFile = fileWith(
      '{"stage": "prod", "brokerCpu": 2048, "brokerMemoryMiB": 4096, "clientCidrs": ["10.0.0.0/8"]}',
    );
    const context = { stageFile, brokerMemoryMiB: '8192', keepsData: 'false' };
    expect(readStage(context)).toEqual({
      ...stages.prod,
      brokerCpu: 2048,
      brokerMemoryMiB: 8192,
      clientCidrs: ['10.0.0.0/8'],
      keepsData: false,
    });
  });

  it('give a stage with a name of its own tables of its own', () => {
    expect(readStage({ stage: 'prod', name: 'acme' }).tablePrefix).toBe('shoal-acme-');
    expect(readStage({ stage: 'prod', name: 'acme', tablePrefix: 'x-' }).tablePrefix).toBe('x-');
  });

  it('make a cluster of two brokers, or of more if that is said', () => {
    expect(readStage({ clustered: 'true' })).toMatchObject({ brokersMin: 2, brokersMax: 2 });
    expect(readStage({ clustered: 'true', brokersMax: '4' })).toMatchObject({ brokersMin: 2, brokersMax: 4 });
    expect(readStage({ clustered: 'true', brokersMin: '3' })).toMatchObject({ brokersMin: 3, brokersMax: 3 });
  });

  it('leave alone what CDK keeps in the context', () => {
    const context = {
      'aws:cdk:bundling-stacks': [],
      '@aws-cdk/core:checkSecretUsage': true,
      'cli-telemetry': false,
      'acknowledged-issue-numbers': [1],
    };
    expect(readStage({ ...context, 'availability-zones:account=1:region=x': ['a'] })).toEqual(stages.dev);
  });
});

describe('the settings that docs/deploy.md shows', () => {
  const blocks = [...readFileSync('docs/deploy.md', 'utf8').matchAll(/```json\n(.*?)```/gs)].map(([, text]) => text!);

  it('can be used', () => {
    expect(blocks.length).toBeGreaterThanOrEqual(2);
    for (const text of blocks) expect(() => readStage({ stageFile: fileWith(text) })).not.toThrow();
  });
});

const wrong: readonly (readonly [Context, string])[] = [
  [{ stage: 'production' }, 'stage=production is not one of dev, prod'],
  [{ stage: '__proto__' }, 'stage=__proto__ is not one of dev, prod'],
  [{ keepAliveSecondMax: '300' }, 'keepAliveSecondMax is not a setting; infra/stages.ts lists them'],
  [{ toString: 'x' }, 'toString is not a setting; infra/stages.ts lists them'],
  [{ brokerCpu: 'big' }, 'brokerCpu=big is not a whole number from 256 to 4096'],
  [{ brokerCpu: '1e3' }, 'brokerCpu=1e3 is not a whole number from 256 to 4096'],
  [{ keepsData: 'yes' }, 'keepsData=yes is not true or false'],
  [{ mqttTls: 'none' }, 'mqttTls=none is not one of nlb, broker'],
  [{ name: 'Prod\n1' }, 'name=Prod 1 is not a name of up to 20 lower case letters, digits and hyphens'],
  [{ clientCidrs: '10.0.0.0' }, 'clientCidrs=10.0.0.0 is not a list of IPv4 ranges such as 203.0.113.0/24'],
  [{ clientCidrs: '999.1.1.1/24' }, 'clientCidrs=999.1.1.1/24 is not a list of IPv4 ranges'],
  [{ clientCidrs: '10.0.0.0/8,10.0.0.0/33' }, 'is not a list of IPv4 ranges'],
  [{ logRetentionDays: '8' }, 'logRetentionDays=8 is not one of 1, 3, 5'],
  [{ brokerImage: 'shoal:latest' }, 'brokerImage=shoal:latest is not an image in ECR with a tag or digest'],
  [
    { stage: 'prod', region: 'us-east-1', brokerImage: '123456789012.dkr.ecr.eu-central-1.amazonaws.com/shoal:1' },
    'brokerImage is in eu-central-1, which egress=endpoints does not reach from region=us-east-1',
  ],
  [{ alarmEmail: 'me' }, 'alarmEmail=me is not an e-mail address'],
  [{ account: '12' }, 'account=12 is not an AWS account of 12 digits'],
  [
    { brokerCpu: '512', brokerMemoryMiB: '512' },
    'brokerMemoryMiB=512 is not a size that Fargate offers with brokerCpu=512',
  ],
  [{ brokerCpu: '256', brokerMemoryMiB: '1536' }, 'brokerMemoryMiB=1536 is not a size that Fargate offers'],
  [{ clustered: 'true', brokersMin: '3', brokersMax: '2' }, 'brokersMin=3 is more than brokersMax=2'],
  [{ brokersMax: '2' }, 'brokersMax=2 needs clustered=true'],
  [{ clustered: 'true', brokersMin: '1' }, 'brokersMin=1 with clustered=true is too few'],
  [{ clusterKeyFirst: 'c' }, 'clusterKeyFirst=c is not one of a, b'],
  [{ clusterKeyFirst: 'b' }, 'clusterKeyFirst=b needs clustered=true'],
  [{ mqttTls: 'broker' }, 'tlsSecretArn is needed with mqttTls=broker'],
  [{ tlsSecretArn: secret }, 'tlsSecretArn has no effect with mqttTls=nlb'],
  [
    { stage: 'prod', mqttTls: 'broker', tlsSecretArn: secret },
    'connectionsMax=50000 with mqttTls=broker needs a brokerMemoryMiB of at least 6080',
  ],
  [{ mqttIdleSeconds: '600' }, 'mqttIdleSeconds=600 needs mqttTls=broker'],
  [{ keepAliveSecondsMax: '350' }, 'keepAliveSecondsMax=350 is not below 350 s'],
  [
    { mqttTls: 'broker', tlsSecretArn: secret, mqttIdleSeconds: '200' },
    'keepAliveSecondsMax=300 is not below 200 s, after which the load balancer cuts idle connections',
  ],
  [{ connectionsMax: '60000' }, 'connectionsMax=60000 is more than the 50000 that a load balancer can open to a task'],
  [{ egress: 'nat', natGateways: '3' }, 'natGateways=3 is more than availabilityZones=2'],
  [{ stage: 'prod', executeCommand: 'true' }, 'executeCommand=true needs keepsData=false'],
  [{ hostedZoneId: 'Z0123456789' }, 'hostedZoneId and hostedZoneName belong together'],
  [{ hostedZoneId: 'Z0123456789', hostedZoneName: 'example.com' }, 'hostedZoneId needs domainName'],
  [
    { hostedZoneId: 'Z0123456789', hostedZoneName: 'example.com', domainName: 'mqtt.example.org' },
    'domainName=mqtt.example.org is not in hostedZoneName=example.com',
  ],
  [
    {
      hostedZoneId: 'Z0123456789',
      hostedZoneName: 'example.com',
      domainName: 'example.com',
      apiDomainName: 'badexample.com',
    },
    'apiDomainName=badexample.com is not in hostedZoneName=example.com',
  ],
  [
    { domainName: 'a.example.com', apiDomainName: 'a.example.com', apiCertificateArn: certificate },
    'apiDomainName=a.example.com is the same as domainName',
  ],
  [{ apiDomainName: 'api.example.com' }, 'apiDomainName=api.example.com needs apiCertificateArn'],
  [{ apiCertificateArn: certificate }, 'apiCertificateArn has no effect without apiDomainName'],
  [{ encryption: 'customer-managed' }, 'encryption=customer-managed needs region'],
  [{ certificateArn: certificate, region: 'us-east-1' }, 'certificateArn is in eu-central-1, not in region=us-east-1'],
  [{ stageFile: 'no-such.json' }, 'stageFile=no-such.json cannot be read (ENOENT)'],
  [{ stageFile: fileWith('{') }, 'is not JSON; use {"stage": "prod", "name": "acme"}'],
  [{ stageFile: fileWith('[]') }, 'is not a JSON object'],
  [{ stageFile: fileWith('{"stage": "beta"}') }, 'stage=beta is not one of dev, prod'],
  [{ stageFile: fileWith('{"colour": "red"}') }, 'colour in the stage file is not a setting'],
  [{ stageFile: fileWith('{"brokerCpu": "1024.5"}') }, 'brokerCpu=1024.5 in the stage file is not a whole number'],
];

describe('settings that cannot be used', () => {
  it.each(wrong)('are refused in one line: %j', (context, message) => {
    expect(() => readStage(context)).toThrow(message);
    try {
      readStage(context);
    } catch (error) {
      expect((error as Error).name).toBe('SettingError');
      expect((error as Error).message).not.toContain('\n');
    }
  });

  it('end the synthesis with this line and nothing else', () => {
    const { status, stderr, stdout } = spawnSync('node_modules/.bin/tsx', ['infra/app.ts'], {
      encoding: 'utf8',
      env: {
        PATH: process.env['PATH'],
        CDK_CONTEXT_JSON: '{"stage": "prod", "keepAliveSecondsMax": "400"}',
        CDK_OUTDIR: folder,
      },
    });
    expect(stderr).toBe(
      'keepAliveSecondsMax=400 is not below 350 s, after which the load balancer cuts idle connections\n',
    );
    expect(stdout).toBe('');
    expect(status).toBe(1);
  });
});
