/** Quotas: read by the tenant, set by the operator. */
import { createRoute, z } from '@hono/zod-openapi';
import { effectiveQuotas, type QuotaKind, quotaKinds, quotaValueError } from '../../services/tenancy/tenancy.js';
import type { Api, ApiDeps } from '../deps.js';
import {
  bearer,
  bodyProblems,
  guard,
  guardProblems,
  json,
  jsonBody,
  onlyJson,
  problemResponses,
  tenantPath,
} from '../http.js';
import { Problem } from '../problems.js';
import { appendControl } from '../store/control.js';
import { setQuotas } from '../store/tenants.js';

type Shape<T extends z.ZodType> = Record<QuotaKind, T>;

function shapeOf<T extends z.ZodType>(schema: (kind: QuotaKind) => T): Shape<T> {
  return Object.fromEntries(quotaKinds.map(({ kind }) => [kind, schema(kind)])) as Shape<T>;
}

function describe(kind: QuotaKind): string {
  const { unit, free, hardMax } = quotaKinds.find((row) => row.kind === kind)!;
  return `${unit}; free plan ${free}${hardMax === undefined ? '' : `, never above ${hardMax}`}. null: no limit`;
}

const quotasView = z
  .object(
    shapeOf((kind) =>
      z
        .int()
        .nullable()
        .openapi({ description: describe(kind) }),
    ),
  )
  .openapi('Quotas');

const quotasBody = z
  .strictObject(
    shapeOf((kind) =>
      z
        .number()
        .nullable()
        .superRefine((value, context) => {
          const error = quotaValueError(kind, value);
          if (error !== undefined) context.addIssue({ code: 'custom', message: error });
        })
        .optional()
        .openapi({ type: ['integer', 'null'], description: describe(kind) }),
    ),
  )
  .openapi('QuotaChange');

const tags = ['Quotas'];
const path = '/v1/tenants/{id}/quotas';

export function quotaRoutes(app: Api, deps: ApiDeps): void {
  const read = createRoute({
    method: 'get',
    path,
    operationId: 'readQuotas',
    summary: 'Get the effective quotas',
    tags,
    security: bearer,
    middleware: [guard(deps, { allow: 'both' })],
    request: { params: tenantPath },
    responses: { 200: json(quotasView, 'All quotas'), ...problemResponses(...guardProblems) },
  });
  app.openapi(read, (c) => {
    const { plan, quotaOverrides } = c.get('caller').tenant;
    return c.json(effectiveQuotas(plan, quotaOverrides), 200);
  });

  const change = createRoute({
    method: 'put',
    path,
    operationId: 'setQuotas',
    summary: 'Update quotas (operator key only)',
    description: 'Quotas that are not in the body keep their values. Brokers apply the change within two seconds.',
    tags,
    security: bearer,
    middleware: [guard(deps, { allow: 'operator' }), onlyJson],
    request: { params: tenantPath, body: jsonBody(quotasBody, true) },
    responses: {
      200: json(quotasView, 'All quotas after the change'),
      ...problemResponses('operator-only', ...guardProblems, ...bodyProblems),
    },
  });
  app.openapi(change, async (c) => {
    const given = Object.entries(c.req.valid('json')).filter(([, value]) => value !== undefined);
    const tenant = await setQuotas(deps.dynamo, await c.get('callerNow')(), Object.fromEntries(given));
    if (tenant === undefined) throw new Problem('tenant-not-found');
    await appendControl(deps.dynamo, deps.clock, tenant, { type: 'tenant-changed', change: 'quotas' });
    return c.json(effectiveQuotas(tenant.plan, tenant.quotaOverrides), 200);
  });
}
