# syntax=docker/dockerfile:1
# Not built where this release was made: no container engine is there. See docs/guide/operations.md.

FROM node:24.11.1-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
COPY . .
RUN npm run build

FROM node:24.11.1-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# Install scripts are for development tools.
RUN npm ci --omit=dev --ignore-scripts && npm cache clean --force

FROM node:24.11.1-bookworm-slim
ENV NODE_ENV=production \
    HOST=0.0.0.0 \
    PORT=3001 \
    DATABASE_URL=file:/data/runwire.db
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
# Peers of the package are development dependencies in its lock file. The server needs these.
COPY --from=build /app/node_modules/@trpc/server ./node_modules/@trpc/server
COPY --from=build /app/node_modules/@trpc/client ./node_modules/@trpc/client
COPY --from=build /app/node_modules/zod ./node_modules/zod
COPY --from=build /app/package.json ./
COPY --from=build /app/dist ./dist
RUN install -d -m 0700 -o node -g node /data \
 && printf '#!/bin/sh\nexec node /app/dist/server/cli/main.js "$@"\n' > /usr/local/bin/runwire \
 && chmod 0755 /usr/local/bin/runwire
USER node
VOLUME /data
EXPOSE 3001
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/readyz`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
# No shell in between: the server gets SIGTERM itself, and ends within nine seconds.
STOPSIGNAL SIGTERM
CMD ["node", "dist/server/main.js"]
