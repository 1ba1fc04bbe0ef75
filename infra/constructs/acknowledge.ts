import { Validations } from 'aws-cdk-lib';
import type { IConstruct } from 'constructs';

/** Says of rules of AwsSolutions why they do not apply to this construct and what is in it. By rule: the reason. */
export function acknowledge(construct: IConstruct, reasons: Readonly<Record<string, string>>): void {
  const validations = Validations.of(construct);
  for (const [id, reason] of Object.entries(reasons)) validations.acknowledge({ id, reason });
}
