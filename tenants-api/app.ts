/**
 * The tenant API: request in, response out. The same app runs behind a local server and in a Lambda (`entry/`), and
 * in tests without either. It shares nothing with the brokers but DynamoDB.
 */
import { OpenAPIHono } from '@hono/zod-openapi';
import type { Context, MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { HTTPException } from 'hono/http-exception';
import { methodNotAllowed } from 'hono/method-not-allowed';
import { DynamoMisconfigured, DynamoUnavailable, mayPass } from '../services/dynamo/dynamo.js';
import type { Api, ApiDeps, ApiEnv } from './deps.js';
export type { ApiDeps } from './deps.js';
import { refuseInvalid } from './http.js';
import { Problem, problemResponse } from './problems.js';
import { brokerRoutes } from './routes/brokers.js';
import { credentialRoutes } from './routes/credentials.js';
import { docsRoutes } from './routes/docs.js';
import { healthRoutes } from './routes/health.js';
import { keyRoutes } from './routes/keys.js';
import { quotaRoutes } from './routes/quotas.js';
import { sessionRoutes } from './routes/sessions.js';
import { tenantRoutes } from './routes/tenants.js';

/** A hundred grants of full length fit; more is not a request of this API. */
const bodyBytesMax = 64 * 1024;

export function createApp(deps: ApiDeps): Api {
  const app = new OpenAPIHono<ApiEnv>({ defaultHook: refuseInvalid });
  app.use(accessLog(deps));
  app.use(
    methodNotAllowed({
      app,
      onMethodNotAllowed: (_c, methods) =>
        problemResponse(new Problem('method-not-allowed', { headers: { allow: methods.join(', ') } })),
    }),
  );
  app.use(
    bodyLimit({
      maxSize: bodyBytesMax,
      onError: () => problemResponse(new Problem('body-too-large', { detail: `The limit is ${bodyBytesMax} bytes` })),
    }),
  );
  healthRoutes(app, deps);
  tenantRoutes(app, deps);
  keyRoutes(app, deps);
  credentialRoutes(app, deps);
  quotaRoutes(app, deps);
  sessionRoutes(app, deps);
  brokerRoutes(app, deps);
  docsRoutes(app, deps);
  app.notFound(() => problemResponse(new Problem('path-not-found')));
  app.onError((error, c) => problemResponse(toProblem(error, deps, c)));
  return app;
}

/** One line a request; never a header, a query or a body, which carry secrets. */
function accessLog({ log, clock, sourceAddress }: ApiDeps): MiddlewareHandler<ApiEnv> {
  return async (c, next) => {
    const startedAtMs = clock.monotonicMs();
    await next();
    c.res.headers.set('x-content-type-options', 'nosniff');
    if (!c.res.headers.has('cache-control')) c.res.headers.set('cache-control', 'no-store');
    const { method, path } = c.req;
    const durationMs = Math.round(clock.monotonicMs() - startedAtMs);
    const fields = { method, path, status: c.res.status, durationMs, source: sourceAddress(c) };
    if (path === '/healthz') log.debug(fields, 'request');
    else log.info(fields, 'request');
  };
}

function toProblem(error: Error, { log, isCutOff }: ApiDeps, c: Context<ApiEnv>): Problem {
  const request = `${c.req.method} ${c.req.path}`;
  if (error instanceof Problem) return error;
  // Nobody takes the answer; the line of the access log is all that is to be said of it.
  if (!mayPass(error) && isCutOff?.(c) === true) return new Problem('body-incomplete');
  if (error instanceof HTTPException && error.status === 400) return new Problem('malformed-json');
  if (error instanceof DynamoUnavailable) {
    log.warn({ request, reason: error.message }, 'the database did not answer');
    return new Problem('unavailable', { retryAfterSeconds: 1 });
  }
  if (error instanceof DynamoMisconfigured) {
    log.error({ request, reason: error.message }, 'the database is misconfigured');
    return new Problem('unavailable', { retryAfterSeconds: 30 });
  }
  log.error({ request, error: error.name, reason: error.message, stack: error.stack }, 'a request failed');
  return new Problem('internal');
}
