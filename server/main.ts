import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { getProxyForUrl } from 'proxy-from-env';
import { RunwireError } from '../shared/errors.ts';
import { signInLink } from './auth/sign-in-link.ts';
import { loadConfig, readEnvironment } from './config.ts';
import { openLogger } from './logger.ts';
import { addProcessMetrics } from './metrics.ts';
import { createRunServer } from './run-server.ts';

/** The server's process: reads the environment, starts the server, and stops it on a signal. */

/** A longer shutdown ends with exit code 1. The limit is below the 10 s after which supervisors kill a process. */
const SHUTDOWN_LIMIT_MS = 9_000;

/** Runs the server until SIGTERM or SIGINT. Resolves with the exit code of the process. */
export async function serve(): Promise<number> {
  const config = loadConfig(readEnvironment());
  const { logger, close: closeLogger } = openLogger();
  const options = { ...config, onlyLocalHosts: config.isLocalSecret, webhookProxy: getProxyForUrl };
  const server = await createRunServer({ ...options, logger });
  addProcessMetrics(server.metrics); // No other server is in this process.
  const { url } = await server.listen();
  process.stdout.write(`Runwire serves ${url}\n`);
  const { authSecret: secret, authIssuer: issuer, authAudience: audience } = config;
  if (config.isLocalSecret && secret !== undefined) {
    process.stdout.write(`Open ${await signInLink(url, { secret, issuer, audience })}\n`);
  }

  const signal = await new Promise<string>((resolve) => {
    process.once('SIGTERM', resolve);
    process.once('SIGINT', resolve);
  });
  logger.info({ signal }, 'shutting down');
  const limit = setTimeout(() => {
    logger.error('the shutdown exceeded its time limit');
    void closeLogger().then(() => process.exit(1));
  }, SHUTDOWN_LIMIT_MS);
  await server.close();
  clearTimeout(limit);
  await closeLogger();
  return 0;
}

const describe = ({ message, path }: RunwireError): string =>
  path === undefined || message.startsWith(path) ? message : `${path}: ${message}`;

const isMain = process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url);
if (isMain) {
  serve().then(
    (code) => process.exit(code),
    (error: unknown) => {
      process.stderr.write(`runwire: ${error instanceof RunwireError ? describe(error) : String(error)}\n`);
      process.exit(1);
    },
  );
}
