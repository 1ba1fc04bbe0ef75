/**
 * The image of the broker: one that is in ECR, or one that `cdk deploy` builds from the Dockerfile. Synthesis only reads
 * the files to see whether they have changed; it needs no Docker.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Stack } from 'aws-cdk-lib';
import { Repository } from 'aws-cdk-lib/aws-ecr';
import { Platform } from 'aws-cdk-lib/aws-ecr-assets';
import { ContainerImage } from 'aws-cdk-lib/aws-ecs';
import type { Construct } from 'constructs';
import { SettingError } from '../setting-error.js';
import type { Stage } from '../stages.js';

const root = join(import.meta.dirname, '../..');

export function brokerImage(scope: Construct, stage: Stage): ContainerImage {
  if (stage.brokerImage !== undefined) return imageInRegistry(scope, stage.brokerImage);
  if (!existsSync(join(root, 'Dockerfile')))
    throw new SettingError('brokerImage is needed: there is no Dockerfile to build an image from');
  return ContainerImage.fromAsset(root, { platform: Platform.LINUX_ARM64 }); // .dockerignore says what belongs to it
}

/** By its repository and not by its name alone, so that the task gets the right to pull it. */
function imageInRegistry(scope: Construct, name: string): ContainerImage {
  const [, account, region, repositoryName, tag] = /^(\d+)\.dkr\.ecr\.([a-z0-9-]+)\.[^/]+\/([^:@]+)[:@](.+)$/.exec(
    name,
  )!;
  const repository = Repository.fromRepositoryAttributes(scope, 'repository', {
    repositoryName: repositoryName!,
    repositoryArn: Stack.of(scope).formatArn({
      service: 'ecr',
      account: account!,
      region: region!,
      resource: 'repository',
      resourceName: repositoryName!,
    }),
  });
  return ContainerImage.fromEcrRepository(repository, tag);
}
