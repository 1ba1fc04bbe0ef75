/** The settings of each stage, typed: `cdk deploy -c stage=prod`. What is not here is the same everywhere. */

export interface Stage {
  readonly name: string;
  /** Before the name of every table, so that stages can share an account. */
  readonly tablePrefix: string;
  /** Data survives a deleted stack, and tables refuse to be deleted. */
  readonly keepsData: boolean;
}

export const stages = {
  dev: { name: 'dev', tablePrefix: 'shoal-dev-', keepsData: false },
  prod: { name: 'prod', tablePrefix: 'shoal-', keepsData: true },
} as const satisfies Record<string, Stage>;

/** Throws for a stage that is not in the table, naming those that are. */
export function stageOf(name: unknown): Stage {
  const stage = Object.values(stages).find((one) => one.name === name);
  if (stage === undefined) throw new Error(`stage ${String(name)} is not one of ${Object.keys(stages).join(', ')}`);
  return stage;
}
