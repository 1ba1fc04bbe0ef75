# The image of the broker: Node.js, one bundle (`npm run build` makes it), and what both need of a system; no shell, no
# packages. Nothing is run while it is built, so it can be built for ARM64 and AMD64 anywhere. docs/image.md says why it is so.

# Node.js in exactly this version, and nothing else of its image.
FROM docker.io/library/node:24.21.0-trixie-slim AS node

# glibc, libstdc++, the certificates of public authorities, time zones, and an unprivileged user.
FROM gcr.io/distroless/cc-debian13:nonroot
LABEL org.opencontainers.image.title="Shoal broker" \
      org.opencontainers.image.description="The MQTT broker of Shoal, a serverless multi-tenant MQTT service" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.base.name="gcr.io/distroless/cc-debian13:nonroot"
COPY --from=node /usr/local/LICENSE /usr/local/share/doc/node/LICENSE
COPY --from=node --chmod=0755 /usr/local/bin/node /usr/local/bin/node
COPY --chmod=0444 LICENSE dist/broker.mjs dist/broker.mjs.map dist/broker.cdx.json /app/

# Numbers, so that it can be seen from outside that it is not root.
USER 65532:65532
WORKDIR /app
# Which listeners there are is said when it is run: a port that is not asked for is not open.
ENV NODE_ENV=production \
    SHOAL_HOST=0.0.0.0 \
    SHOAL_HEALTH_PORT=9090
EXPOSE 1883 8080 8883 9090

# Whether it takes clients, for Docker; ECS asks through the load balancer.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["/usr/local/bin/node", "-e", "require('node:http').get({ host: '127.0.0.1', port: process.env.SHOAL_HEALTH_PORT, path: '/healthz' }, ({ statusCode }) => process.exit(statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]

# It drains, and ends with 0.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/node", "--enable-source-maps", "/app/broker.mjs"]
