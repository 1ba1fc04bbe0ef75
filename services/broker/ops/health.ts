/** `GET /healthz` for load balancers and `GET /metrics` in the Prometheus text format, on a port of their own. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { caught, type Metrics, type MetricSample } from '../../kernel/kernel.js';

/** Undefined: serving. Otherwise why not. */
export type Health = () => string | undefined;

export interface HealthOptions {
  readonly host: string;
  readonly port: number;
  /** Called before it listens. */
  readonly prepare?: (server: Server) => void;
}

/** Whoever asks here has a short question; a peer that does nothing is destroyed, and the sockets are few. */
const requestMs = 10_000;
const stallMs = 30_000;
const connectionsMax = 256;
const limits = {
  ...{ headersTimeout: requestMs, requestTimeout: requestMs, connectionsCheckingInterval: requestMs / 10 },
  ...{ keepAlive: true, keepAliveInitialDelay: 60_000 },
};

export async function serveHealth(
  options: HealthOptions,
  health: Health,
  metrics: Metrics,
): Promise<{ readonly port: number; close(): void }> {
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    if (request.url === '/healthz') {
      const trouble = health();
      response
        .writeHead(trouble === undefined ? 200 : 503, { 'content-type': 'text/plain' })
        .end(`${trouble ?? 'ok'}\n`);
    } else if (request.url === '/metrics')
      response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(prometheusText(metrics.samples()));
    else response.writeHead(404).end();
  };
  const server = createServer(limits, (request, response) => {
    try {
      answer(request, response);
    } catch (error) {
      caught('health', error);
      response.destroy();
    }
  });
  server.setTimeout(stallMs);
  server.maxConnections = connectionsMax;
  options.prepare?.(server);
  await listen(server, options);
  const address = server.address();
  return {
    port: typeof address === 'object' && address ? address.port : options.port,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

function listen(server: Server, { host, port }: HealthOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function prometheusText(samples: Iterable<MetricSample>): string {
  const lines: string[] = [];
  let family = '';
  for (const { name, kind, help, labels, value } of samples) {
    if (name !== family) lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`);
    family = name;
    const pairs = Object.entries(labels).map(([label, text]) => `${label}="${text}"`);
    lines.push(`${name}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${value}`);
  }
  return `${lines.join('\n')}\n`;
}
