/**
 * Keeps the targets of the load balancer the same as the running tasks of a clustered service: a Lambda, called when a task changes
 * and once a minute. Only where several brokers run: docs/decisions/0049-standby-tasks.md says why ECS cannot do it there. It is
 * deployed as it stands, so it is plain JavaScript and needs nothing but Node.js.
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
import { createHash, createHmac } from 'node:crypto';

/** Most that DescribeTasks takes, and ListTasks gives at once. */
const tasksPerCall = 100;
/** A call takes some tens of milliseconds. */
const callMsMax = 8000;

/** @param {unknown} _event It only says when to look. */
export async function handler(_event) {
  const {
    SHOAL_CLUSTER: cluster,
    SHOAL_SERVICE: service,
    SHOAL_TARGET_GROUPS: groups,
    AWS_REGION: region,
  } = process.env;
  const names = {
    ecs: `https://ecs.${region}.amazonaws.com`,
    elasticloadbalancing: `https://elasticloadbalancing.${region}.amazonaws.com`,
  };
  const changes = await keepTargets({
    cluster,
    service,
    groups: groups.split(','),
    aws: new Aws(region, names, credentials()),
  });
  for (const change of changes) console.log(JSON.stringify(change));
}

function credentials() {
  const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret, AWS_SESSION_TOKEN: token } = process.env;
  return { id, secret, token };
}

/**
 * Resolves with what was changed, by target group.
 * @param {{ cluster: string, service: string, groups: readonly string[], aws: Aws }} options
 */
export async function keepTargets({ cluster, service, groups, aws }) {
  const before = await Promise.all(groups.map((group) => targetsOf(aws, group)));
  const running = await runningAddresses(aws, cluster, service);
  const changes = groups.map((group, i) => ({
    group,
    added: running.filter((address) => !before[i].includes(address)),
    removed: running.length === 0 ? [] : before[i].filter((address) => !running.includes(address)),
  }));
  for (const { group, added, removed } of changes) {
    if (added.length > 0) await aws.elb('RegisterTargets', members(group, added));
    if (removed.length > 0) await aws.elb('DeregisterTargets', members(group, removed));
  }
  return changes.filter(({ added, removed }) => added.length + removed.length > 0);
}

const members = (group, addresses) => ({
  TargetGroupArn: group,
  ...Object.fromEntries(addresses.map((address, i) => [`Targets.member.${i + 1}.Id`, address])),
});

/** Those that are being removed are none. */
async function targetsOf(aws, group) {
  const xml = await aws.elb('DescribeTargetHealth', { TargetGroupArn: group });
  return [...xml.matchAll(/<member>(.*?)<\/member>/gs)]
    .filter(([, member]) => /<TargetHealth>.*?<State>(\w+)/s.exec(member)?.[1] !== 'draining')
    .map(([, member]) => /<Id>([^<]+)/.exec(member)[1]);
}

/** Of tasks that have begun to run and are not to stop. */
async function runningAddresses(aws, cluster, service) {
  const arns = [];
  let nextToken;
  do {
    const page = { cluster, serviceName: service, desiredStatus: 'RUNNING', maxResults: tasksPerCall };
    const answer = await aws.ecs('ListTasks', { ...page, ...(nextToken && { nextToken }) });
    arns.push(...answer.taskArns);
    nextToken = answer.nextToken;
  } while (nextToken);
  const addresses = [];
  for (let i = 0; i < arns.length; i += tasksPerCall) {
    const { tasks } = await aws.ecs('DescribeTasks', { cluster, tasks: arns.slice(i, i + tasksPerCall) });
    for (const { lastStatus, desiredStatus, attachments } of tasks)
      if (lastStatus === 'RUNNING' && desiredStatus === 'RUNNING')
        for (const { details } of attachments)
          for (const { name, value } of details) if (name === 'privateIPv4Address') addresses.push(value);
  }
  return addresses;
}

/** The five calls of two services, signed (AWS, "Create a signed AWS API request"). */
export class Aws {
  #region;
  #endpoints;
  #credentials;

  constructor(region, endpoints, credentials) {
    this.#region = region;
    this.#endpoints = endpoints;
    this.#credentials = credentials;
  }

  async ecs(action, input) {
    const headers = {
      'content-type': 'application/x-amz-json-1.1',
      'x-amz-target': `AmazonEC2ContainerServiceV20141113.${action}`,
    };
    return JSON.parse(await this.#call('ecs', action, headers, JSON.stringify(input)));
  }

  /** Gives XML. */
  elb(action, input) {
    const body = new URLSearchParams({ Action: action, Version: '2015-12-01', ...input }).toString();
    const headers = { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' };
    return this.#call('elasticloadbalancing', action, headers, body);
  }

  async #call(service, action, headers, body) {
    const url = new URL(this.#endpoints[service]);
    const signed = this.#signed(service, url.host, headers, body);
    const response = await fetch(url, {
      method: 'POST',
      headers: signed,
      body,
      signal: AbortSignal.timeout(callMsMax),
    });
    const text = await response.text();
    if (response.ok) return text;
    throw new Error(`${action} failed (${response.status}): ${text.slice(0, 500)}`);
  }

  #signed(service, host, given, body) {
    const { id, secret, token } = this.#credentials;
    const time = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '');
    const scope = `${time.slice(0, 8)}/${this.#region}/${service}/aws4_request`;
    const headers = { ...given, host, 'x-amz-date': time, ...(token && { 'x-amz-security-token': token }) };
    const names = Object.keys(headers).toSorted();
    const lines = names.map((name) => `${name}:${headers[name]}\n`).join('');
    const canonical = `POST\n/\n\n${lines}\n${names.join(';')}\n${sha256(body)}`;
    const toSign = `AWS4-HMAC-SHA256\n${time}\n${scope}\n${sha256(canonical)}`;
    const key = scope.split('/').reduce((above, part) => hmac(above, part).digest(), `AWS4${secret}`);
    const signature = hmac(key, toSign).digest('hex');
    const { host: _, ...sent } = headers; // `fetch` sets it.
    return {
      ...sent,
      authorization: `AWS4-HMAC-SHA256 Credential=${id}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}`,
    };
  }
}

const hmac = (key, text) => createHmac('sha256', key).update(text);
const sha256 = (text) => createHash('sha256').update(text).digest('hex');
