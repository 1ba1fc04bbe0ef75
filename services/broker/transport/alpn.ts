/**
 * What a client of the MQTT listener with TLS is told when it names protocols (ALPN, RFC 7301). Clients that name none are
 * not asked.
 */

/** IANA's name, and the one by which AWS IoT tells its clients with certificates on port 443 apart. */
const spoken = ['mqtt', 'x-amzn-mqtt-ca'];

/**
 * Without one that is spoken here, the client's own first: all that this port speaks is MQTT, and OpenSSL gives Node no way
 * to leave the extension unanswered for one client. To refuse would lock out those that name something by mistake.
 */
export function chooseProtocol({ protocols }: { readonly protocols: readonly string[] }): string | undefined {
  return spoken.find((name) => protocols.includes(name)) ?? protocols[0];
}
