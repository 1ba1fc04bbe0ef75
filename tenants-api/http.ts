/** The parts of a route that every resource shares: who may call it, JSON bodies, paths, pages and problems. */
import { z } from '@hono/zod-openapi';
import type { Context, MiddlewareHandler } from 'hono';
import type { ApiDeps, ApiEnv } from './deps.js';
import {
  authenticate,
  authenticateOperator,
  type AuthenticationOptions,
  type Caller,
} from './domain/authentication.js';
import { Problem, type ProblemCode, problems } from './problems.js';
import { pageItemsDefault, pageItemsMax } from './store/paging.js';

/**
 * Lets the request in or answers 401, 403 or 404, before its body is read. A body may be held back for as long as its
 * sender likes, so a handler with a body asks `callerNow` when it has it, and goes on with what that answers.
 */
export function guard(
  { dynamo, operatorKey }: ApiDeps,
  options: Pick<AuthenticationOptions, 'allow' | 'includeDeleting'>,
): MiddlewareHandler<ApiEnv> {
  return async (c, next) => {
    const tenantId = c.req.param('id') ?? '';
    const authorization = c.req.header('authorization');
    const ask = (): Promise<Caller> => authenticate({ ...options, dynamo, operatorKey, authorization, tenantId });
    const caller = await ask();
    c.set('caller', caller);
    c.set('callerNow', async () => {
      const now = await ask();
      // The operator's key opens the next tenant of that name as well, and that is not the one that was meant.
      if (now.tenant.scope !== caller.tenant.scope) throw new Problem('tenant-not-found');
      return now;
    });
    await next();
  };
}

/** The same for what belongs to no tenant. A tenant's key is told so only if it is one: others learn nothing from it. */
export function onlyOperator({ dynamo, operatorKey }: ApiDeps): MiddlewareHandler<ApiEnv> {
  return async (c, next) => {
    await authenticateOperator(dynamo, operatorKey, c.req.header('authorization'));
    await next();
  };
}

/** What a request is answered with whose tenant or key has gone while its write was under way. */
export async function refusal(c: Context<ApiEnv>): Promise<Problem> {
  try {
    await c.get('callerNow')();
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
  return new Problem('tenant-not-found');
}

/** 415 for a body that does not say that it is JSON. */
export const onlyJson: MiddlewareHandler = async (c, next) => {
  const isJson = /^application\/json(\s*;.*)?$/i.test(c.req.header('content-type') ?? '');
  // A POST without data (`curl -X POST`) has no type, and nothing that could be misread.
  if (!isJson && (await c.req.arrayBuffer()).byteLength > 0) throw new Problem('not-json');
  await next();
};

/** Validation failed: 422 with one entry a field. */
export function refuseInvalid(result: { success: boolean; error?: z.ZodError }, _c: Context): void {
  if (result.success || result.error === undefined) return;
  const errors = result.error.issues.map(toFieldError);
  const [first] = errors;
  throw new Problem('invalid-request', { detail: first ? `${first.field}: ${first.message}` : 'invalid', errors });
}

function toFieldError(issue: z.core.$ZodIssue): { field: string; message: string } {
  const at = issue.path.join('.');
  if (issue.code === 'unrecognized_keys') {
    const unknown = issue.keys.map((key) => (at === '' ? key : `${at}.${key}`));
    return { field: unknown.join(', '), message: 'is not a field of this request' };
  }
  if (issue.code === 'invalid_type' && issue.message.endsWith('received undefined'))
    return { field: at, message: 'is required' };
  return { field: at === '' ? 'body' : at, message: issue.message };
}

export const tenantPath = z.object({
  id: z.string().openapi({ param: { name: 'id', in: 'path' }, example: 'acme', description: 'Tenant id' }),
});

export const pageQuery = z.strictObject({
  limit: z
    .string()
    .regex(/^[0-9]{1,4}$/, `limit must be a number from 1 to ${pageItemsMax}`)
    .transform(Number)
    .refine((n) => n >= 1 && n <= pageItemsMax, `limit must be a number from 1 to ${pageItemsMax}`)
    .optional()
    .transform((n) => n ?? pageItemsDefault)
    .openapi({ type: 'integer', minimum: 1, maximum: pageItemsMax, default: pageItemsDefault }),
  cursor: z.string().min(1).optional().openapi({ description: 'The `cursor` of the previous page' }),
});

export function pageOf<T extends z.ZodType>(name: string, item: T) {
  return z
    .object({ items: z.array(item), cursor: z.string().optional() })
    .openapi(name, { description: 'One page. The last page has no `cursor`.' });
}

export const timestamp = z.string().openapi({ format: 'date-time', example: '2026-11-21T10:00:00.000Z' });

const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    code: z.string().openapi({ description: 'Stable identifier of the error; use it in scripts' }),
    detail: z.string().optional(),
    errors: z.array(z.object({ field: z.string(), message: z.string() })).optional(),
  })
  .openapi('Problem');

/** The OpenAPI responses for these codes and for those that any request may get. */
export function problemResponses(...codes: ProblemCode[]) {
  const responses: Record<number, { description: string; content: Record<string, { schema: typeof problemSchema }> }> =
    {};
  for (const code of [...codes, 'unavailable', 'internal'] as const) {
    const { status, title } = problems[code];
    const before = responses[status];
    const description = `${before ? `${before.description}; ` : ''}\`${code}\`: ${title}`;
    responses[status] = { description, content: { 'application/problem+json': { schema: problemSchema } } };
  }
  return responses;
}

/** What `guard` may answer. */
export const guardProblems = ['unauthenticated', 'tenant-not-found', 'tenant-suspended'] as const;
/** What `onlyOperator` may answer. */
export const onlyOperatorProblems = ['unauthenticated', 'operator-only'] as const;
/** What a JSON body may be answered with. */
export const bodyProblems = [
  'malformed-json',
  'body-incomplete',
  'body-too-large',
  'not-json',
  'invalid-request',
] as const;

export function json<T extends z.ZodType>(schema: T, description: string) {
  return { description, content: { 'application/json': { schema } } };
}

export function jsonBody<T extends z.ZodType, const Required extends boolean>(schema: T, required: Required) {
  return { required, content: { 'application/json': { schema } } };
}

export const bearer = [{ apiKey: [] }];
