/**
 * Keeps the targets of the load balancer the same as the running tasks of a clustered service: a Lambda, called when a task changes
 * and once a minute. Only where several brokers run: docs/decisions/0049-standby-tasks.md says why ECS cannot do it there. It is
 * deployed as it stands, so it is plain JavaScript, and the AWS SDK is that of the Lambda runtime.
 *
 * Who is a target says nothing of who gets clients: that says the health of each, which the load balancer asks.
 *
 * Several run at once, and none knows of the others. Each reads the targets first and the tasks after:
 *
 *  - A target that it has read belongs to a task that ran by then. If the tasks read after do not have it, it has ended. So no
 *    target of a living task is taken away, however old an answer is when it is acted on.
 *  - A task may end after it was read, and be made a target when another call has already removed it. It is unhealthy, gets no
 *    clients, and the next call removes it.
 *  - A call dies half way: what it has done was right, and the next one does the rest.
 *  - ECS names no task at all: a fault of somebody, or an end of the service. Nothing is taken away. Targets that are gone get no
 *    clients; those that are not would leave devices without any broker.
 */
import { DescribeTasksCommand, ECSClient, paginateListTasks } from '@aws-sdk/client-ecs';
import {
  DeregisterTargetsCommand,
  DescribeTargetHealthCommand,
  ElasticLoadBalancingV2Client,
  RegisterTargetsCommand,
} from '@aws-sdk/client-elastic-load-balancing-v2';

/** Most that DescribeTasks takes, and ListTasks gives at once. */
const tasksPerCall = 100;
/** A call takes some tens of milliseconds. */
const requestHandler = { requestTimeout: 8000, throwOnRequestTimeout: true };

/** @param {unknown} _event It only says when to look. */
export async function handler(_event) {
  const { SHOAL_CLUSTER: cluster, SHOAL_SERVICE: service, SHOAL_TARGET_GROUPS: groups } = process.env;
  const ecs = new ECSClient({ requestHandler });
  const balancer = new ElasticLoadBalancingV2Client({ requestHandler });
  const changes = await keepTargets({ cluster, service, groups: groups.split(','), ecs, balancer });
  for (const change of changes) console.log(JSON.stringify(change));
}

/** Resolves with what was changed, by target group. */
export async function keepTargets({ cluster, service, groups, ecs, balancer }) {
  const before = await Promise.all(groups.map((group) => targetsOf(balancer, group)));
  const running = await runningAddresses(ecs, cluster, service);
  const changes = groups.map((group, i) => ({
    group,
    added: running.filter((address) => !before[i].includes(address)),
    removed: running.length === 0 ? [] : before[i].filter((address) => !running.includes(address)),
  }));
  for (const { group, added, removed } of changes) {
    if (added.length > 0) await balancer.send(new RegisterTargetsCommand(members(group, added)));
    if (removed.length > 0) await balancer.send(new DeregisterTargetsCommand(members(group, removed)));
  }
  return changes.filter(({ added, removed }) => added.length + removed.length > 0);
}

const members = (TargetGroupArn, addresses) => ({ TargetGroupArn, Targets: addresses.map((Id) => ({ Id })) });

/** Those that are being removed are none. */
async function targetsOf(balancer, TargetGroupArn) {
  const answer = await balancer.send(new DescribeTargetHealthCommand({ TargetGroupArn }));
  return answer.TargetHealthDescriptions.filter(({ TargetHealth }) => TargetHealth.State !== 'draining').map(
    ({ Target }) => Target.Id,
  );
}

/** Of tasks that have begun to run and are not to stop. */
async function runningAddresses(ecs, cluster, serviceName) {
  const wanted = { cluster, serviceName, desiredStatus: 'RUNNING' };
  const addresses = [];
  for await (const { taskArns } of paginateListTasks({ client: ecs, pageSize: tasksPerCall }, wanted)) {
    if (taskArns.length === 0) continue;
    const { tasks } = await ecs.send(new DescribeTasksCommand({ cluster, tasks: taskArns }));
    for (const { lastStatus, desiredStatus, attachments } of tasks)
      if (lastStatus === 'RUNNING' && desiredStatus === 'RUNNING')
        for (const { details } of attachments)
          for (const { name, value } of details) if (name === 'privateIPv4Address') addresses.push(value);
  }
  return addresses;
}
