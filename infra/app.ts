/** The CDK app: `npx cdk synth -c stage=prod`. */
import { App } from 'aws-cdk-lib';
import { SettingError } from './setting-error.js';
import { readStage } from './settings.js';
import { addShoal } from './shoal.js';

try {
  const app = new App();
  addShoal(app, readStage(app.node.getAllContext() as Record<string, unknown>));
} catch (error) {
  if (!(error instanceof SettingError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
