import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { expect, onTestFinished } from 'vitest';
import { freePort } from './ports.ts';

/** A real HAProxy with the configuration of docs/guide/operations.md and a certificate of its own. */

const haproxy = '/usr/sbin/haproxy';
export const hasHaproxy = existsSync(haproxy) && existsSync('/usr/bin/openssl');

/** The configuration as printed in the guide. */
export function documentedConfig(): string {
  const page = readFileSync(new URL('../../docs/guide/operations.md', import.meta.url), 'utf8');
  const [, config] = /```haproxy\n([\s\S]*?)```/.exec(page) ?? [];
  if (config === undefined) throw new Error('docs/guide/operations.md has no haproxy block');
  return config;
}

/** Starts HAProxy before three servers until the test finishes. The host name becomes `localhost`, and the ports free ones. */
export async function startHaproxy(folder: string, ports: readonly [number, number, number]) {
  const [tlsPort, plainPort] = [await freePort(), await freePort()];
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  const files = ['-keyout', `${folder}/key.pem`, '-out', `${folder}/certificate.pem`];
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...subject, ...files], {
    stdio: 'pipe',
  });
  const ca = readFileSync(`${folder}/certificate.pem`, 'utf8');
  writeFileSync(`${folder}/runwire.pem`, ca + readFileSync(`${folder}/key.pem`, 'utf8'));
  const changes: [string, string][] = [
    ['maxconn 20000', 'maxconn 500'],
    ['bind :443', `bind 127.0.0.1:${tlsPort}`],
    ['bind :80', `bind 127.0.0.1:${plainPort}`],
    ['runs.example.org', 'localhost'],
    ['/etc/ssl/runwire/', `${folder}/`],
    ...ports.map((port, at): [string, string] => [`10.0.0.1${at + 1}:3001`, `127.0.0.1:${port}`]),
  ];
  let config = documentedConfig();
  for (const [from, to] of changes) {
    expect(config).toContain(from);
    config = config.replaceAll(from, to);
  }
  writeFileSync(`${folder}/haproxy.cfg`, config);
  const child = spawn(haproxy, ['-db', '-f', `${folder}/haproxy.cfg`], { stdio: 'pipe' });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data) => {
      output += data;
    });
  }
  const ended = once(child, 'exit');
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const isListening = () =>
    new Promise<boolean>((resolve) => {
      const socket = connect(tlsPort, '127.0.0.1', () => resolve(true)).once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
  await expect.poll(() => (child.exitCode === null ? isListening() : `ended: ${output}`)).toBe(true);
  return { url: `https://localhost:${tlsPort}`, plainUrl: `http://localhost:${plainPort}`, ca, output: () => output };
}
