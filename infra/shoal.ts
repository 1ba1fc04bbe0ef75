/** All stacks of one stage, in the order in which they need each other. Called by `app.ts` and by tests. */
import { type App, type StackProps, Tags, Validations } from 'aws-cdk-lib';
import { AwsSolutionsChecks } from 'cdk-nag';
import { isProtected } from './constructs/removal.js';
import { BrokerStack } from './stacks/broker.js';
import { DataStack } from './stacks/data.js';
import { NetworkStack } from './stacks/network.js';
import { ObservabilityStack } from './stacks/observability.js';
import { TenantsApiStack } from './stacks/tenants-api.js';
import type { Stage } from './stages.js';

export interface Shoal {
  readonly network: NetworkStack;
  readonly data: DataStack;
  readonly broker: BrokerStack;
  readonly tenantsApi: TenantsApiStack;
  readonly observability: ObservabilityStack;
}

export function addShoal(app: App, stage: Stage): Shoal {
  const common = (what: string): StackProps & { readonly stage: Stage } => ({
    stage,
    description: `Shoal (${stage.name}): ${what}`,
    terminationProtection: isProtected(stage),
    env: {
      ...(stage.account !== undefined && { account: stage.account }),
      ...(stage.region !== undefined && { region: stage.region }),
    },
  });
  const id = (name: string): string => `shoal-${stage.name}-${name}`;
  const network = new NetworkStack(app, id('network'), common('network'));
  const data = new DataStack(app, id('data'), common('tables'));
  const broker = new BrokerStack(app, id('broker'), { ...common('brokers'), vpc: network.vpc, data });
  const { endpoints } = broker;
  const tenantsApi = new TenantsApiStack(app, id('tenants-api'), { ...common('tenant API'), data, endpoints });
  const observability = new ObservabilityStack(app, id('observability'), {
    ...common('dashboard and alarms'),
    broker,
    tenantsApi,
  });
  Tags.of(app).add('shoal:stage', stage.name);
  for (const stack of [network, data, broker, tenantsApi, observability])
    stack.templateOptions.metadata = settingsOf(stage);
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
  return { network, data, broker, tenantsApi, observability };
}

/**
 * In each template, for people who look at a stack. It does not make CloudFormation look again at what a stack refers to in another one:
 * that is what `settingsMark` is for.
 */
function settingsOf(stage: Stage): Record<string, unknown> {
  return { ShoalSettings: Object.fromEntries(Object.entries(stage).filter(([, value]) => value !== undefined)) };
}
