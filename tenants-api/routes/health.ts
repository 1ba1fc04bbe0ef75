/** Whether every part is ready, for scripts and load balancers. */
import type { Api, ApiDeps } from '../deps.js';
import { Problem } from '../problems.js';

export function healthRoutes(app: Api, deps: ApiDeps): void {
  app.get('/healthz', async (c) => {
    const { ok, parts } = await deps.health();
    if (!ok) throw new Problem('not-ready', { retryAfterSeconds: 1, extra: { ok, parts } });
    return c.json({ ok, parts }, 200);
  });
}
