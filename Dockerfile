# The same version as "node" in package.json.
ARG NODE_IMAGE=docker.io/library/node:26.10.0-slim

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM ${NODE_IMAGE} AS app
LABEL org.opencontainers.image.title="grantd"
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000 DATA_DIR=/var/lib/grantd
# A new volume gets its owner from here. Only development mode writes to it.
RUN install -d -o 1000 -g 1000 -m 700 /var/lib/grantd
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY package.json openapi.yaml ./
COPY migrations migrations
COPY src src
# The first saves a third of the memory for a twentieth more CPU. The second keeps SIGUSR1 from opening the inspector.
ENV NODE_OPTIONS="--max-semi-space-size=8 --disable-sigusr1"

# Fills the compile cache. The first line starts grantd without configuration, which must fail, and compiles what that
# loads. The second compiles the rest, which a start loads while the database is being connected.
# The cache is only valid for the uid that wrote it and for the same options of V8, and only that uid can read it.
FROM app AS compiled
USER 1000:1000
RUN NODE_COMPILE_CACHE=/tmp/compiled node --no-allocation-site-pretenuring src/commands/start.ts 2>&1 | grep 'DATABASE_URL must be set' \
  && NODE_COMPILE_CACHE=/tmp/compiled node --no-allocation-site-pretenuring --eval "import('./src/runtime/http-server.ts')" \
  && chmod -R a+rX /tmp/compiled

FROM app
# Owned by root like the code, so that the process cannot change either.
COPY --from=compiled --chown=0:0 /tmp/compiled compiled
ENV NODE_COMPILE_CACHE=/app/compiled
USER 1000:1000
# The API, and metrics.
EXPOSE 3000 9464
STOPSIGNAL SIGTERM
# /health/live rather than /health/ready, because a restart does not bring a database back.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health/live`).then(answer => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# V8 would sometimes keep short-lived objects among the old ones: a fifth more CPU (docs/design.md). NODE_OPTIONS cannot say it.
CMD ["node", "--no-allocation-site-pretenuring", "src/commands/start.ts"]
