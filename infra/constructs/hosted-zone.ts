import { HostedZone, type IHostedZone } from 'aws-cdk-lib/aws-route53';
import type { Construct } from 'constructs';
import type { Stage } from '../stages.js';

/** By its attributes: nothing is looked up at synthesis. */
export function hostedZone(scope: Construct, stage: Stage): IHostedZone | undefined {
  const { hostedZoneId, hostedZoneName } = stage;
  if (hostedZoneId === undefined || hostedZoneName === undefined) return undefined;
  return HostedZone.fromHostedZoneAttributes(scope, 'zone', { hostedZoneId, zoneName: hostedZoneName });
}
