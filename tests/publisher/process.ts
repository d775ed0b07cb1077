import { openSync, writeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { createPublisher, type EventPublisher } from '../../client/publisher/index.ts';
import { Dice } from '../chaos/random.ts';

/** A publishing process for tests, which end it in every way. It reports what `publish` took in a file. */

export type ProcessOptions = {
  url: string;
  token: string;
  spillPath?: string;
  /** The number of this process among those that use the spill file. */
  life: number;
  /** A line for each event that `publish` took, written after `publish` has returned. */
  takenPath: string;
  seed: number;
  way: keyof typeof ways;
};

const options = JSON.parse(process.argv[2] as string) as ProcessOptions;
const { url, token, spillPath, life } = options;
const taken = openSync(options.takenPath, 'a');
let count = 0;

const publisher = createPublisher({
  url,
  token,
  projectId: 'demo',
  spillPath,
  retryDelayMs: 10,
  maxRetryDelayMs: 200,
  timeoutMs: 2_000,
  onError: ({ code, message }, willRetry) => {
    process.stderr.write(`${willRetry ? 'retried' : 'failed'} ${code}: ${message}\n`);
  },
});

const draftOf = (name: string, padding: number) => ({
  type: 'stage.progress' as const,
  runId: 'r1',
  stageId: 's1',
  message: `${name} ${'x'.repeat(padding)}`,
});

/** Publishes in one call, then writes what was taken. */
function publish(size: number, padding: number): ReturnType<EventPublisher['publish']> {
  const names = Array.from({ length: size }, () => `${life}-${count++}`);
  const stored = publisher.publish(names.map((name) => draftOf(name, padding)));
  writeSync(taken, names.map((name) => `${name}\n`).join(''));
  return stored;
}

/** What the process does. */
const ways = {
  /** Publishes until it is killed: calls of every size, in bursts and with pauses. */
  async untilKilled() {
    const dice = new Dice(options.seed);
    for (;;) {
      for (let calls = dice.pick([1, 2, 6, 60]); calls > 0; calls--)
        void publish(dice.between(1, 4), dice.between(0, 900));
      if (dice.chance(0.9)) await delay(dice.between(0, 4));
    }
  },
  /** Sends what the file has. */
  async drain() {
    await publisher.close(60_000);
  },
  /** Publishes until a call is refused. */
  async untilRefused() {
    for (;;) {
      const name = `${life}-${count++}`;
      const refused = publisher.publish(draftOf(name, 300)).then(
        () => false,
        () => true,
      );
      if (await Promise.race([refused, delay(2, false)])) break;
      writeSync(taken, `${name}\n`);
    }
    process.exit(0);
  },
  exit() {
    void publish(2, 0);
    process.exit(0);
  },
  uncaught() {
    void publish(2, 0);
    throw new Error('uncaught');
  },
  /** Has nothing more to do, and awaits nothing. */
  fallOff() {
    void publish(2, 0);
    publish(1, 0).catch(() => undefined);
  },
  async awaited() {
    await publish(2, 0);
    process.stdout.write('stored\n');
  },
  async closed() {
    void publish(2, 0);
    await publisher.close(100);
    process.stdout.write('closed\n');
  },
};

await ways[options.way]();
