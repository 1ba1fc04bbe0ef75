/** Where brokers live: public subnets for the load balancer, subnets without public addresses for the tasks. */
import { Fn, Stack, type StackProps } from 'aws-cdk-lib';
import {
  FlowLogDestination,
  FlowLogTrafficType,
  GatewayVpcEndpointAwsService,
  IpAddresses,
  type IVpc,
  SubnetType,
  Vpc,
} from 'aws-cdk-lib/aws-ec2';
import type { Construct } from 'constructs';
import { awsEndpoints } from '../constructs/aws-endpoints.js';
import { retainedLogGroup } from '../constructs/log-group.js';
import type { Stage } from '../stages.js';

export interface NetworkStackProps extends StackProps {
  readonly stage: Stage;
}

export class NetworkStack extends Stack {
  readonly vpc: IVpc;

  constructor(scope: Construct, id: string, { stage, ...props }: NetworkStackProps) {
    super(scope, id, props);
    const isOpen = stage.egress === 'nat';
    const vpc = new Vpc(this, 'vpc', {
      ipAddresses: IpAddresses.cidr('10.0.0.0/16'),
      // The names of the zones are known to AWS alone; so nothing is looked up, and synthesis needs no credentials.
      availabilityZones: Array.from({ length: stage.availabilityZones }, (_, i) => Fn.select(i, Fn.getAzs())),
      natGateways: isOpen ? stage.natGateways : 0,
      restrictDefaultSecurityGroup: false, // nothing uses it, and closing it would take a Lambda with rights of its own
      subnetConfiguration: [
        { name: 'public', subnetType: SubnetType.PUBLIC, cidrMask: 24, mapPublicIpOnLaunch: false },
        {
          name: 'brokers',
          subnetType: isOpen ? SubnetType.PRIVATE_WITH_EGRESS : SubnetType.PRIVATE_ISOLATED,
          cidrMask: 20, // a task has an address of its own
        },
      ],
      // Free, and most of the traffic of a broker: it never pays for NAT or an interface endpoint.
      gatewayEndpoints: { dynamodb: { service: GatewayVpcEndpointAwsService.DYNAMODB } },
    });
    vpc.addFlowLog('refused', {
      trafficType: FlowLogTrafficType.REJECT, // what was let in, the broker tells
      destination: FlowLogDestination.toCloudWatchLogs(retainedLogGroup(this, 'refused-traffic', stage)),
    });
    if (!isOpen) awsEndpoints(this, vpc as IVpc, stage);
    this.vpc = vpc as IVpc;
  }
}
