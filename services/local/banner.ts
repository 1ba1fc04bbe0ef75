/**
 * What `npm start` prints when everything runs: where things are, and commands that take a new user from nothing to a
 * message through TLS. A test pastes exactly these lines into a shell.
 */
import type { Endpoints } from './endpoints.js';

export interface BannerFacts {
  readonly endpoints: Endpoints;
  readonly endpointsFile: string;
  /** A tenant name that is still free, so that the commands work on every start. */
  readonly tenant: string;
  readonly kept: boolean;
  /** Of several brokers all may serve. */
  readonly preview?: boolean;
}

export function banner({ endpoints, endpointsFile, tenant, kept, preview = false }: BannerFacts): string {
  const { api, mqtts, mqtt, ws, wss, host, caFile, brokers } = endpoints;
  const tls = `--cafile ${quoted(caFile)} -h ${quoted(host)} -p ${mqtts.port} -u sensor-1@${tenant} -P "$SHOAL_PASSWORD"`;
  const json = `-H 'content-type: application/json'`;
  return `
Shoal is running${kept ? '' : ' in memory only: everything is lost when it stops'}.

  MQTT over TLS         ${mqtts.url}
  MQTT over WebSocket   ${wss.url}
  without TLS           ${mqtt.url}  ${ws.url}
  tenant API            ${api.url}  (browse ${api.url}/docs)
  CA certificate        ${caFile}
  ports, operator key   ${endpointsFile}
${brokers === undefined || preview ? '' : severalWords(brokers.length)}
A first message, pasted into another shell:

  SHOAL_API_KEY=$(curl -s ${api.url}/v1/tenants ${json} -d '{"name":"${tenant}"}' | ${field('apiKey')})
  SHOAL_PASSWORD=$(curl -s ${api.url}/v1/tenants/${tenant}/credentials -H "authorization: Bearer $SHOAL_API_KEY" ${json} -d '{"name":"sensor-1"}' | ${field('password')})
  echo "API key: $SHOAL_API_KEY"
  mosquitto_sub ${tls} -t 'hello/#' -v -C 1 &
  mosquitto_pub ${tls} -t hello/world -m 'hi there' -r

The message is retained (-r), so the subscriber gets it whichever of the two is faster. Ctrl-C stops Shoal.
`;
}

const severalWords = (count: number): string => `
One of ${count} brokers serves, and another one follows within seconds when it ends. More of them serve no more clients.
`;

/** One string field out of JSON, with nothing but what every shell has. */
const field = (name: string): string => `sed 's/.*"${name}": *"\\([^"]*\\)".*/\\1/'`;

/** As it is typed in a shell. */
const quoted = (text: string): string => (/^[\w./:@-]+$/.test(text) ? text : `'${text.replaceAll(`'`, `'\\''`)}'`);
