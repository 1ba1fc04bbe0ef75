import type { ECSClient } from '@aws-sdk/client-ecs';
import type { ElasticLoadBalancingV2Client } from '@aws-sdk/client-elastic-load-balancing-v2';

/** What one call has changed in a target group. */
export interface TargetChange {
  readonly group: string;
  readonly added: readonly string[];
  readonly removed: readonly string[];
}

interface Watched {
  readonly cluster: string;
  readonly service: string;
  /** ARNs of target groups. */
  readonly groups: readonly string[];
  readonly ecs: ECSClient;
  readonly balancer: ElasticLoadBalancingV2Client;
}

/** Rejects when a call fails. */
export function keepTargets(watched: Watched): Promise<readonly TargetChange[]>;
export function handler(event: unknown): Promise<void>;
