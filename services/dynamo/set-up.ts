/**
 * Which errors of the SDK mean that something is set up wrongly, and what to do about each, in words for operators.
 * Called by `typedError`. What it does not know is trouble that may pass, or a request that is ours to mend.
 */
export interface SdkError {
  readonly name?: string;
  readonly code?: string;
  readonly message?: string;
  readonly Item?: Record<string, unknown>;
  readonly $metadata?: { readonly httpStatusCode?: number; readonly requestId?: string | undefined };
}

export interface SetUpFault {
  readonly code: string;
  readonly remedy: string;
}

/** What Node and the HTTP handler say when nobody answers. A host name that does not exist is a wrong set-up. */
const unreachable = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EAI_AGAIN',
  'TimeoutError',
  'RequestTimeout',
  'RequestTimeoutException',
  'AbortError',
]);
const timeouts = new Set(['ETIMEDOUT', 'TimeoutError', 'RequestTimeout', 'RequestTimeoutException', 'AbortError']);

const credentials = 'check the AWS credentials in use';
const renew = 'renew the AWS credentials in use';
const clock = 'check the AWS credentials in use and the clock of this machine';
const endpoint = 'check SHOAL_DYNAMODB_ENDPOINT and AWS_REGION';
const certificate = `${endpoint}: the certificate there`;

/** Error name or code, and what the operator should look at. `@` stands for the endpoint or the region in use. */
const remedies: ReadonlyMap<string, string> = new Map([
  ['ResourceNotFoundException', 'create the tables, or check SHOAL_TABLE_PREFIX and AWS_REGION; no such table @'],
  ['UnrecognizedClientException', `${credentials}: they are not known @`],
  ['InvalidClientTokenId', `${credentials}: they are not known @`],
  ['NotAuthorized', `${credentials}: they are not known @`],
  ['OptInRequired', 'check AWS_REGION: this account may not use DynamoDB @'],
  ['SubscriptionRequiredException', 'check AWS_REGION: this account may not use DynamoDB @'],
  ['InvalidSignatureException', clock],
  ['SignatureDoesNotMatch', clock],
  ['RequestExpired', clock],
  ['RequestTimeTooSkewed', clock],
  ['MissingAuthenticationTokenException', credentials],
  ['MissingAuthenticationToken', credentials],
  ['IncompleteSignatureException', credentials],
  ['IncompleteSignature', credentials],
  ['ExpiredTokenException', renew],
  ['ExpiredToken', renew],
  ['TokenProviderError', renew],
  ['CredentialsProviderError', 'provide AWS credentials: a role, a profile or environment variables'],
  ['ENOTFOUND', `${endpoint}: the host name does not exist @`],
  ['ERR_INVALID_URL', `${endpoint}: not a URL @`],
  ['EPROTO', `${endpoint}: https where http is expected, or the reverse, @`],
  ['ERR_SSL_WRONG_VERSION_NUMBER', `${endpoint}: https where http is expected, or the reverse, @`],
  ['ERR_TLS_CERT_ALTNAME_INVALID', `${certificate} is for another name @`],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', `${certificate} is not trusted @`],
  ['SELF_SIGNED_CERT_IN_CHAIN', `${certificate} is not trusted @`],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', `${certificate} is not trusted @`],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', `${certificate} is not trusted @`],
  ['CERT_HAS_EXPIRED', `${certificate} has expired @`],
]);

/** How a ValidationException reads when the table has other keys than `tableDefinitions` says. */
const wrongKeys = /key element|Missing the key|Type mismatch for key|does not match the schema|specified index/i;

/** What an answer is called that DynamoDB does not give: no JSON, JSON without an error type, an HTTP parser's code. */
const foreignNames = new Set(['SyntaxError', 'Unknown', 'UnknownError']);

/** `place`: where DynamoDB is looked for, `in region eu-central-1`. Undefined: nothing is wrong with the set-up. */
export function setUpFault(error: SdkError, place: string): SetUpFault | undefined {
  const { name = '', code = '', message = '' } = error;
  const fault = (what: string, remedy: string): SetUpFault => ({ code: what, remedy: remedy.replace('@', place) });
  if (name === 'AccessDeniedException' || name === 'AccessDenied') return fault(name, accessRemedy(message));
  const known = remedies.get(name) ?? remedies.get(code);
  if (known !== undefined) return fault(code || name, known);
  if (name === 'ValidationException' && wrongKeys.test(message))
    return fault(name, 'the table does not have the expected keys; create it again');
  if (/region is missing/i.test(message)) return fault('no region', 'set AWS_REGION');
  if (/region not accepted/i.test(message)) return fault('no region', 'check AWS_REGION: it is not a region');
  return isForeign(error) ? foreign(error.$metadata?.httpStatusCode, place) : undefined;
}

/** For what answers, but is no DynamoDB. */
export function foreign(status: number | undefined, place: string): SetUpFault {
  const answer = status === undefined ? 'no HTTP answer' : `HTTP ${status}, not a DynamoDB answer`;
  return { code: answer, remedy: `${endpoint}: something else answers ${place}` };
}

function isForeign({ name = '', code = '', $metadata }: SdkError): boolean {
  if (code.startsWith('HPE_')) return true;
  const status = $metadata?.httpStatusCode ?? 0;
  // A proxy or a load balancer in trouble answers 5xx in words of its own. DynamoDB numbers what it answers.
  return foreignNames.has(name) && status > 0 && status < 500 && $metadata?.requestId === undefined;
}

/** DynamoDB names who asked, and often the kind of policy that stands in the way. */
function accessRemedy(message: string): string {
  const told = /User: (\S+) is not authorized to perform: \S+ on resource: (\S+) ?(.*)/is.exec(message);
  if (!told) return 'grant this action on the table to the role in use';
  const [, user, , reason = ''] = told;
  const why = reason
    .replace(/ the \w+:\w+ action/, ' it')
    .replaceAll(/\s+/g, ' ')
    .trim();
  return `grant this action on the table to ${user}${why === '' ? '' : ` (${why})`}`;
}

export function codeOf({ name, code, $metadata }: SdkError): string {
  const said = code || name || '';
  const status = $metadata?.httpStatusCode;
  if (said !== '' && said !== 'Error' && !foreignNames.has(said)) return said;
  return status === undefined ? 'unknown error' : `HTTP ${status}`;
}

export function isUnreachable({ name = '', code = '' }: SdkError): boolean {
  return unreachable.has(name) || unreachable.has(code);
}

export function isTimeout({ name = '', code = '' }: SdkError): boolean {
  return timeouts.has(name) || timeouts.has(code);
}
