/**
 * The ways to AWS of tasks that have no way to the internet: to pull the image, write logs and read secrets. Each costs
 * by the hour and zone, so there are no more than a task needs. DynamoDB has its gateway endpoint, which is free.
 */
import {
  GatewayVpcEndpointAwsService,
  InterfaceVpcEndpointAwsService,
  type IVpc,
  Peer,
  Port,
  SecurityGroup,
} from 'aws-cdk-lib/aws-ec2';
import type { Construct } from 'constructs';
import type { Stage } from '../stages.js';
import { acknowledge } from './acknowledge.js';

export function awsEndpoints(scope: Construct, vpc: IVpc, stage: Stage): void {
  const group = new SecurityGroup(scope, 'aws-endpoints', {
    vpc,
    description: 'HTTPS from the VPC to AWS',
    allowAllOutbound: false,
  });
  group.addIngressRule(Peer.ipv4(vpc.vpcCidrBlock), Port.HTTPS, 'HTTPS from the VPC');
  acknowledge(group, {
    'AwsSolutions-EC23': 'The source is the range of the VPC, which the rule cannot read because it is a reference',
  });
  const services = {
    'ecr-api': InterfaceVpcEndpointAwsService.ECR,
    'ecr-images': InterfaceVpcEndpointAwsService.ECR_DOCKER,
    logs: InterfaceVpcEndpointAwsService.CLOUDWATCH_LOGS,
    ...((stage.mqttTls === 'broker' || stage.clustered) && { secrets: InterfaceVpcEndpointAwsService.SECRETS_MANAGER }),
    ...(stage.executeCommand && { shell: InterfaceVpcEndpointAwsService.SSM_MESSAGES }),
  };
  for (const [name, service] of Object.entries(services))
    vpc.addInterfaceEndpoint(name, { service, securityGroups: [group], open: false });
  vpc.addGatewayEndpoint('image-layers', { service: GatewayVpcEndpointAwsService.S3 });
}
