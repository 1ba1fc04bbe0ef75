/** The description of the API and a page to browse it, with all its assets from here: it works without the Internet. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Api, ApiDeps } from '../deps.js';
import { Problem } from '../problems.js';

const page = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>Shoal tenant API</title>
    <link rel="stylesheet" href="/docs/swagger-ui.css">
    <link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
  </head>
  <body>
    <div id="docs"></div>
    <script src="/docs/swagger-ui-bundle.js"></script>
    <script src="/docs/start.js"></script>
  </body>
</html>
`;

const start = `SwaggerUIBundle({ url: '/openapi.json', dom_id: '#docs', deepLinking: true, validatorUrl: null });\n`;

/** The page runs no script but these; Swagger UI styles its elements in place and draws its icons as data URLs. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** All that is served: nothing is looked up by a name from a request. */
const assets: ReadonlyMap<string, string> = new Map([
  ['swagger-ui.css', 'text/css; charset=utf-8'],
  ['swagger-ui-bundle.js', 'text/javascript; charset=utf-8'],
  ['favicon-32x32.png', 'image/png'],
]);

const cachedFor = { 'cache-control': 'public, max-age=3600' };

export function docsRoutes(app: Api, { docsFolder }: ApiDeps): void {
  app.openAPIRegistry.registerComponent('securitySchemes', 'apiKey', {
    type: 'http',
    scheme: 'bearer',
    description: 'An API key of the tenant, or the operator key',
  });
  app.get('/openapi.json', (c) =>
    c.json(
      app.getOpenAPI31Document({
        openapi: '3.1.0',
        info: {
          title: 'Shoal tenant API',
          version: '1',
          description: 'Sign up, and manage keys, credentials, quotas and sessions of a tenant.',
          license: { name: 'Apache-2.0' },
        },
      }),
    ),
  );
  app.get('/docs', (c) => c.html(page, 200, { 'content-security-policy': contentSecurityPolicy }));
  for (const nearby of ['/', '/docs/']) app.get(nearby, (c) => c.redirect('/docs'));
  app.get('/docs/start.js', (c) =>
    c.body(start, 200, { 'content-type': 'text/javascript; charset=utf-8', ...cachedFor }),
  );
  const read = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();
  app.get('/docs/:asset', async (c) => {
    const asset = c.req.param('asset');
    const contentType = assets.get(asset);
    if (contentType === undefined) throw new Problem('path-not-found');
    if (!read.has(asset)) read.set(asset, readAsset(docsFolder ?? packageFolder(), asset));
    return c.body(await read.get(asset)!, 200, { 'content-type': contentType, ...cachedFor });
  });
}

function packageFolder(): string {
  const require = createRequire(import.meta.url);
  return dirname(require.resolve('swagger-ui-dist/package.json'));
}

async function readAsset(folder: string, name: string): Promise<Uint8Array<ArrayBuffer>> {
  return Uint8Array.from(await readFile(join(folder, name)));
}
