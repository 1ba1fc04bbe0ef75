/** What went wrong, in words for whoever runs the smoke test: what was tried, what came back, what to look at. */

/** A check that did not hold, or a thing that the user can set right: its message is all that is shown. */
export class SmokeFailure extends Error {
  override readonly name = 'SmokeFailure';
}

export interface Attempt {
  /** `host:port`, as it was tried. */
  readonly where: string;
  readonly caFile: string | undefined;
}

/** Of a connection that failed, for TLS, TCP and names alike. */
export function explained(error: unknown, { where, caFile }: Attempt): SmokeFailure {
  if (error instanceof SmokeFailure) return error;
  const { code, message } = innermost(error);
  const words = code === undefined ? undefined : (certificates(caFile)[code] ?? connections[code]);
  return new SmokeFailure(`${where}: ${words === undefined ? message : `${words} (${code})`}`, { cause: error });
}

/** Node.js tries several addresses of a name, and tells of all. */
function innermost(error: unknown): { code: string | undefined; message: string } {
  const one = error instanceof AggregateError && error.errors.length > 0 ? (error.errors[0] as unknown) : error;
  const { code } = one as { code?: unknown };
  const message = one instanceof Error && one.message !== '' ? one.message : String(one);
  return { code: typeof code === 'string' ? code : undefined, message };
}

function certificates(caFile: string | undefined): Readonly<Record<string, string>> {
  const untrusted =
    caFile === undefined
      ? 'the certificate is not of an authority that is trusted here: give its CA with --ca'
      : `the certificate is neither of the authority in ${caFile} nor of one that Node.js trusts: is it the right CA?`;
  return {
    SELF_SIGNED_CERT_IN_CHAIN: untrusted,
    DEPTH_ZERO_SELF_SIGNED_CERT: untrusted,
    UNABLE_TO_VERIFY_LEAF_SIGNATURE: untrusted,
    UNABLE_TO_GET_ISSUER_CERT: untrusted,
    UNABLE_TO_GET_ISSUER_CERT_LOCALLY: untrusted,
    CERT_SIGNATURE_FAILURE: untrusted,
    ERR_TLS_CERT_ALTNAME_INVALID: 'the certificate is for another name than this host',
    CERT_HAS_EXPIRED: 'the certificate has expired',
    CERT_NOT_YET_VALID: 'the certificate is not valid yet: is the clock right?',
  };
}

const noTls = 'what answers there does not speak TLS: is it the port of the plain listener?';

const cut = 'the connection was cut at once: is it the port of a TLS listener?';

const connections: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there: is the port right, and the service up?',
  ENOTFOUND: 'there is no such host name',
  EAI_AGAIN: 'the host name cannot be looked up now: is there a network?',
  ETIMEDOUT: 'no answer: is the port right, and open in the firewall?',
  EHOSTUNREACH: 'the host cannot be reached',
  ENETUNREACH: 'there is no network that leads there',
  ECONNRESET: cut,
  EPIPE: cut,
  ERR_SSL_WRONG_VERSION_NUMBER: noTls,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: noTls,
  EPROTO: noTls,
  HPE_INVALID_CONSTANT: 'what answers there does not speak HTTP: is it the port of the API?',
};
