/** The stacks of a stage as CloudFormation would get them, made in this process: no credentials, no Docker, no network. */
import { readFileSync } from 'node:fs';
import { App, type Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { type Context, readStage } from '../../infra/settings.js';
import { addShoal, type Shoal } from '../../infra/shoal.js';
import type { Stage } from '../../infra/stages.js';

/** What `npx cdk` hands on. */
const { context: flags } = JSON.parse(readFileSync('cdk.json', 'utf8')) as { context: Record<string, unknown> };

export const stageNames = ['dev', 'prod'] as const;

/** In a registry, so that the files of the image need not be looked at. */
export const imageInRegistry = '123456789012.dkr.ecr.eu-central-1.amazonaws.com/shoal:1.0';

export interface Synthesis {
  readonly app: App;
  readonly stage: Stage;
  readonly stacks: Shoal;
  readonly templates: Readonly<Record<keyof Shoal, Template>>;
}

/** By settings: nobody changes what was made, so all tests share it. */
const made = new Map<string, Synthesis>();

export function synthesise(context: Context): Synthesis {
  const key = JSON.stringify(context);
  const known = made.get(key);
  if (known) return known;
  const synthesis = synthesiseAnew(context);
  made.set(key, synthesis);
  return synthesis;
}

function synthesiseAnew(context: Context): Synthesis {
  const app = new App({ context: { ...flags, 'aws:cdk:bundling-stacks': [] } });
  const stage = readStage({ brokerImage: imageInRegistry, ...context });
  const stacks = addShoal(app, stage);
  const templates = Object.fromEntries(
    Object.entries(stacks).map(([name, stack]) => [name, Template.fromStack(stack as Stack)]),
  ) as Record<keyof Shoal, Template>;
  return { app, stage, stacks, templates };
}

export interface Resource {
  readonly Type: string;
  readonly Properties: Readonly<Record<string, unknown>>;
  readonly DeletionPolicy?: string;
}

export function resources(template: Template, type: string): readonly Resource[] {
  return Object.values(template.findResources(type)) as unknown as Resource[];
}

/** The one resource of this type. */
export function only(template: Template, type: string): Resource {
  const found = resources(template, type);
  if (found.length !== 1) throw new Error(`${found.length} resources of type ${type}`);
  return found[0]!;
}
