/**
 * A Lambda function as AWS runs it: Node processes that ask the Runtime API for their next invocation, one at a time each,
 * with nothing of ours in the environment but what the function is given. While an invocation runs nothing else
 * keeps the process alive, as in AWS: a function that waits for an unreferenced timer ends.
 * https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';

/** What AWS has between the Runtime API and the handler, and a clock that shows what each invocation brings. */
const bootstrap = `
  import { request } from 'node:http';
  let nowMs = Date.now();
  const RealDate = Date;
  globalThis.Date = class Date extends RealDate {
    constructor(...args) { args.length === 0 ? super(nowMs) : super(...args); }
    static now() { return nowMs; }
  };
  const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');
  const headers = { 'test-instance': process.env.TEST_INSTANCE };
  const ask = (method, path, body) => new Promise((resolve, reject) => {
    const asked = request({ host, port, method, path: '/2018-06-01/runtime' + path, headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => (text += chunk));
      response.on('end', () => resolve({ text, headers: response.headers })).on('error', reject);
    });
    asked.on('error', reject).end(body);
  });
  const failure = (error) => JSON.stringify({ errorType: error.name, errorMessage: error.message });
  let handler;
  try {
    ({ handler } = await import(process.env.TEST_BUNDLE));
  } catch (error) {
    await ask('POST', '/init/error', failure(error));
    process.exit(1);
  }
  for (;;) {
    const { text, headers } = await ask('GET', '/invocation/next');
    const path = '/invocation/' + headers['lambda-runtime-aws-request-id'];
    nowMs = Number(headers['test-now-ms']);
    try {
      await ask('POST', path + '/response', JSON.stringify(await handler(JSON.parse(text), {})));
    } catch (error) {
      await ask('POST', path + '/error', failure(error));
    }
  }
`;

/** As many as run at once: enough for races, and no more than a small machine carries. */
const instancesMax = 3;

interface Instance {
  readonly number: string;
  readonly process: ChildProcess;
}

interface Invocation {
  readonly id: string;
  readonly event: string;
  resolve(result: APIGatewayProxyStructuredResultV2): void;
  reject(error: Error): void;
  /** The process that works on it. */
  instance?: Instance;
}

export interface LambdaOptions {
  /** The bundle, with an export `handler`. */
  readonly file: string;
  readonly env: Readonly<Record<string, string>>;
  readonly nowMs: () => number;
}

export class Lambda {
  /** What it wrote to standard output, line by line. */
  readonly lines: string[] = [];
  readonly #options: LambdaOptions;
  readonly #server = createServer((request, response) => void this.#serve(request, response));
  readonly #instances = new Map<string, Instance>();
  readonly #idle: { response: ServerResponse; instance: Instance }[] = [];
  readonly #waiting: Invocation[] = [];
  readonly #running = new Map<string, Invocation>();
  #invocations = 0;
  #starts = 0;
  #isStopping = false;

  private constructor(options: LambdaOptions) {
    this.#options = options;
  }

  static async start(options: LambdaOptions): Promise<Lambda> {
    const lambda = new Lambda(options);
    lambda.#server.listen(0, '127.0.0.1');
    await once(lambda.#server, 'listening');
    return lambda;
  }

  /** Rejects when the function throws, does not start or ends meanwhile. */
  invoke(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
    return new Promise((resolve, reject) => {
      const invocation = { id: `request-${this.#invocations++}`, event: JSON.stringify(event), resolve, reject };
      this.#waiting.push(invocation);
      this.#dispatch();
    });
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    const processes = [...this.#instances.values()].map((instance) => instance.process);
    const ended = processes.map((one) => once(one, 'exit'));
    for (const one of processes) one.kill('SIGKILL');
    await Promise.all(ended);
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #dispatch(): void {
    while (this.#waiting.length > 0 && this.#idle.length > 0) {
      const { response, instance } = this.#idle.shift()!;
      const invocation = this.#waiting.shift()!;
      invocation.instance = instance;
      this.#running.set(invocation.id, invocation);
      const headers = { 'lambda-runtime-aws-request-id': invocation.id, 'test-now-ms': String(this.#options.nowMs()) };
      response.writeHead(200, headers).end(invocation.event);
    }
    const starting = this.#instances.size - this.#running.size - this.#idle.length;
    if (this.#waiting.length > starting && this.#instances.size < instancesMax) this.#startInstance();
  }

  #startInstance(): void {
    const { port } = this.#server.address() as AddressInfo;
    const number = String(this.#starts++);
    const child = spawn(process.execPath, ['--input-type=module', '--eval', bootstrap], {
      env: {
        ...this.#options.env,
        AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${port}`,
        TEST_BUNDLE: pathToFileURL(this.#options.file).href,
        TEST_INSTANCE: number,
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#instances.set(number, { number, process: child });
    createInterface({ input: child.stdout }).on('line', (line) => this.lines.push(line));
    child.once('exit', (code) => this.#ended(number, new Error(`the Lambda ended with ${code}`)));
  }

  #ended(number: string, error: Error): void {
    this.#instances.delete(number);
    if (this.#isStopping) return;
    for (const [id, invocation] of this.#running)
      if (invocation.instance?.number === number) {
        this.#running.delete(id);
        invocation.reject(error);
      }
    this.#dispatch();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const what = (request.url ?? '').replace('/2018-06-01/runtime/', '');
    const instance = this.#instances.get(String(request.headers['test-instance']));
    if (instance === undefined) return void response.destroy();
    if (what === 'invocation/next') {
      this.#idle.push({ response, instance });
      return this.#dispatch();
    }
    let text = '';
    for await (const chunk of request) text += String(chunk);
    response.writeHead(202).end();
    const answer = JSON.parse(text) as APIGatewayProxyStructuredResultV2 & { errorMessage?: string };
    const error = new Error(answer.errorMessage);
    if (what === 'init/error') {
      for (const { reject } of this.#waiting.splice(0)) reject(error);
      return;
    }
    const [, id = '', outcome] = what.split('/');
    const invocation = this.#running.get(id);
    this.#running.delete(id);
    if (outcome === 'response') invocation?.resolve(answer);
    else invocation?.reject(error);
  }
}
