/** What one call has changed in a target group. */
export interface TargetChange {
  readonly group: string;
  readonly added: readonly string[];
  readonly removed: readonly string[];
}

interface Credentials {
  readonly id: string;
  readonly secret: string;
  readonly token?: string;
}

/** Calls of ECS and of the load balancer. */
export class Aws {
  constructor(region: string, endpoints: Readonly<Record<'ecs' | 'elasticloadbalancing', string>>, by: Credentials);
}

interface Watched {
  readonly cluster: string;
  readonly service: string;
  /** ARNs of target groups. */
  readonly groups: readonly string[];
  readonly aws: Aws;
}

/** Rejects when a call fails. */
export function keepTargets(watched: Watched): Promise<readonly TargetChange[]>;
export function handler(event: unknown): Promise<void>;
