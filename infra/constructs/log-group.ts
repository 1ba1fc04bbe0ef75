import { LogGroup, type RetentionDays } from 'aws-cdk-lib/aws-logs';
import type { Construct } from 'constructs';
import type { Stage } from '../stages.js';
import { removalPolicy } from './removal.js';

/** Logs end with their retention, which the settings have checked, and with a stage that keeps nothing. */
export function retainedLogGroup(scope: Construct, id: string, stage: Stage): LogGroup {
  return new LogGroup(scope, id, {
    retention: stage.logRetentionDays as RetentionDays,
    removalPolicy: removalPolicy(stage),
  });
}
