/** The CDK app: `npx cdk synth -c stage=prod`. */
import { App } from 'aws-cdk-lib';
import { DataStack } from './stacks/data.js';
import { stageOf } from './stages.js';

const app = new App();
const stage = stageOf(app.node.tryGetContext('stage') ?? 'dev');
new DataStack(app, `shoal-${stage.name}-data`, { stage, description: `Shoal (${stage.name}): tables` });
