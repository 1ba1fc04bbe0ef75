import { RemovalPolicy } from 'aws-cdk-lib';
import type { Stage } from '../stages.js';

/**
 * What happens to data, logs and secrets when their stack ends. Kept or not: what a first deployment has made and could not finish
 * goes with it. It is empty, and would be in the way of the next attempt.
 */
export function removalPolicy({ keepsData }: Stage): RemovalPolicy {
  return keepsData ? RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE : RemovalPolicy.DESTROY;
}

/** Whether stacks, tables and load balancer refuse to be deleted, also by whoever wants to undo a deployment. */
export function isProtected({ keepsData, protects }: Stage): boolean {
  return keepsData && protects;
}
