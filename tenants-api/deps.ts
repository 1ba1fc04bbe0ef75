/** What the API needs from whoever starts it, and the types that all routes share. */
import type { OpenAPIHono } from '@hono/zod-openapi';
import type { Context } from 'hono';
import type { Dynamo } from '../services/dynamo/dynamo.js';
import type { Clock, Log } from '../services/kernel/kernel.js';
import type { Caller } from './domain/authentication.js';

/** URLs that clients of a tenant use; only those that are on. */
export interface Endpoints {
  readonly mqtts?: string;
  readonly wss?: string;
  readonly mqtt?: string;
  readonly ws?: string;
  readonly api: string;
}

export interface Health {
  readonly ok: boolean;
  /** Part to `ok` or what is wrong with it. */
  readonly parts: Readonly<Record<string, string>>;
}

export interface ApiDeps {
  readonly dynamo: Dynamo;
  readonly clock: Clock;
  readonly endpoints: Endpoints;
  /** Opens every tenant for reading, and what only operators do. */
  readonly operatorKey: string;
  /** Sign-ups a source address may try in a minute. Default 60. */
  readonly signUp?: { readonly perMinute?: number };
  readonly health: () => Promise<Health>;
  readonly log: Log;
  /** The address that a request came from, never from a header that the client may set. */
  readonly sourceAddress: (c: Context) => string;
  /** Whether the client has gone before its request was complete. Missing where requests arrive whole. */
  isCutOff?(c: Context): boolean;
  /** Where the files of the page at `/docs` are. Default: in the package that they come from. */
  readonly docsFolder?: string;
  /** How long a deleted tenant's name is kept back. Default 2500: brokers hear of it within two seconds. */
  readonly deletionSettleMs?: number;
}

export interface ApiEnv {
  Variables: {
    /** With the tenant of the path, as they were when the request was let in. */
    caller: Caller;
    /** As they are now: for what is done after a wait. Throws what the request would be answered with now. */
    callerNow: () => Promise<Caller>;
  };
}

export type Api = OpenAPIHono<ApiEnv>;
