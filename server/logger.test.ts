import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { expect, onTestFinished, test } from 'vitest';

const LOGGING = `
  import { openLogger } from ${JSON.stringify(new URL('logger.ts', import.meta.url).href)};
  const { logger, close } = openLogger();
  for (let n = 0; n < 3_000; n++) logger.info({ n, pad: 'x'.repeat(1_000) }, 'a line');
  process.stdout.write('logged\\n');
  await new Promise((resolve) => process.stdin.once('data', resolve));
  if (process.argv[1] === 'read') {
    await new Promise((resolve) => setImmediate(resolve));
    logger.info('the last line');
  }
  await close();
  process.exit(0);
`;

function start(...args: string[]) {
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', LOGGING, ...args], {
    cwd: new URL('..', import.meta.url).pathname,
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  return { child, exit: once(child, 'exit') };
}

test('[Q16] a stalled reader of stderr holds neither the server nor its end', async () => {
  const { child, exit } = start();
  child.stderr.pause();
  await once(child.stdout, 'data');
  child.stdin.write('\n');
  expect(await exit).toEqual([0, null]);
});

test('[Q16] lines beyond 1 MiB are dropped and counted, and the others are written', async () => {
  const { child, exit } = start('read');
  await once(child.stdout, 'data');
  let lines = 0;
  let dropped = 0;
  for await (const text of createInterface({ input: child.stderr })) {
    const line = JSON.parse(text);
    if (line.msg === 'a line') lines++;
    if (line.msg.includes('dropped')) {
      dropped += line.lines;
      child.stdin.write('\n');
    }
    if (line.msg === 'the last line') break;
  }
  expect(lines).toBeGreaterThan(500);
  expect(lines + dropped).toBe(3_000);
  expect(await exit).toEqual([0, null]);
});
