import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { connect } from 'node:net';
import { expect, onTestFinished } from 'vitest';
import { freePort } from './ports.ts';

/** A real nginx with the configuration of docs/guide/operations.md and a certificate of its own. */

const nginx = '/usr/sbin/nginx';
export const hasNginx = existsSync(nginx) && existsSync('/usr/bin/openssl');

/** The configuration as printed in the guide. */
export function documentedConfig(): string {
  const page = readFileSync(new URL('../../docs/guide/operations.md', import.meta.url), 'utf8');
  const [, config] = /```nginx\n([\s\S]*?)```/.exec(page) ?? [];
  if (config === undefined) throw new Error('docs/guide/operations.md has no nginx block');
  return config;
}

/** Starts nginx until the test finishes. The host name becomes `localhost`, and the ports become free ones. */
export async function startNginx(folder: string, upstreamPort: number) {
  const [tlsPort, plainPort] = [await freePort(), await freePort()];
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  const files = ['-keyout', `${folder}/privkey.pem`, '-out', `${folder}/fullchain.pem`];
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...subject, ...files], {
    stdio: 'pipe',
  });
  const changes: [string, string][] = [
    ['listen 443 ssl', `listen 127.0.0.1:${tlsPort} ssl`],
    ['listen 80;', `listen 127.0.0.1:${plainPort};`],
    ['127.0.0.1:3001', `127.0.0.1:${upstreamPort}`],
    ['runs.example.org', 'localhost'],
    ['/etc/ssl/runwire/', `${folder}/`],
    ['/var/log/nginx/', `${folder}/`],
  ];
  let config = documentedConfig();
  for (const [from, to] of changes) {
    expect(config).toContain(from);
    config = config.replaceAll(from, to);
  }
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${folder}/${name};`,
  );
  writeFileSync(
    `${folder}/nginx.conf`,
    `${process.getuid?.() === 0 ? 'user root;' : ''} daemon off; worker_processes 1; pid ${folder}/nginx.pid;
    error_log ${folder}/main.error.log; events {} http { access_log off; ${temporary.join(' ')} ${config} }`,
  );
  const child = spawn(nginx, ['-e', `${folder}/start.error.log`, '-p', folder, '-c', `${folder}/nginx.conf`], {
    stdio: 'pipe',
  });
  let output = '';
  child.stderr.on('data', (data) => {
    output += data;
  });
  const ended = once(child, 'exit');
  onTestFinished(async () => {
    child.kill('SIGTERM');
    await ended;
  });
  const isListening = () =>
    new Promise<boolean>((resolve) => {
      const socket = connect(tlsPort, '127.0.0.1', () => resolve(true)).once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
  await expect.poll(() => (child.exitCode === null ? isListening() : `ended: ${output}`)).toBe(true);
  const ca = readFileSync(`${folder}/fullchain.pem`, 'utf8');
  const url = `https://localhost:${tlsPort}`;
  return {
    url,
    plainUrl: `http://localhost:${plainPort}`,
    tlsPort,
    ca,
    caPath: `${folder}/fullchain.pem`,
    /** The whole access log. */
    logs: () =>
      readdirSync(folder)
        .filter((name) => name.endsWith('.log'))
        .map((name) => readFileSync(`${folder}/${name}`, 'utf8'))
        .join('\n'),
    ask: (path: string, { method = 'GET', headers = {}, body }: Ask = {}) =>
      new Promise<Answer>((resolve, reject) => {
        const asked = request(
          url + path,
          { method, headers, ca, servername: 'localhost', agent: false },
          (response) => {
            let text = '';
            response.setEncoding('utf8').on('data', (chunk: string) => {
              text += chunk;
            });
            response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }));
          },
        );
        asked.once('error', reject).end(body);
      }),
  };
}

type Ask = { method?: string; headers?: Record<string, string>; body?: string };
type Answer = { status: number; headers: Record<string, string | string[] | undefined>; text: string };
