import { createHash } from 'node:crypto';
import type { Stage } from '../stages.js';

/**
 * Eight digits that are others when any setting is. Settings may replace a resource, and with it what other stacks have read of it:
 * their templates are the same, and neither CDK nor CloudFormation would read it again. In a property of whatever names something of
 * another stack, this makes them.
 */
export function settingsMark(stage: Stage): string {
  return createHash('sha256')
    .update(JSON.stringify(Object.entries(stage).toSorted()))
    .digest('hex')
    .slice(0, 8);
}
