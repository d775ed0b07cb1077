import { createPhiGuard } from '../server/phi/guard.ts';
import { runwireEvents } from '../shared/events.ts';
import { folder, hasSamples, measure, type Rate, readBlind, readSamples } from '../tests/phi/phi-labelled.ts';

/**
 * `npm run phi:report`: recall of the guard on a labelled set by kind, false alarms by file, and CPU cost. `--misses`
 * prints the samples behind the figures.
 */

const percent = ({ hits, of }: Rate): string => `${((100 * hits) / of).toFixed(2)}%`.padStart(8);
const line = (name: string, rate: Rate): string => `  ${name.padEnd(34)}${percent(rate)}  ${rate.hits} of ${rate.of}`;
const sum = (rates: Iterable<Rate>): Rate => {
  const all = { hits: 0, of: 0 };
  for (const { hits, of } of rates) {
    all.hits += hits;
    all.of += of;
  }
  return all;
};

const own = measure(readBlind());
console.log('recall by kind, tests/phi-blind.txt');
for (const name of [...own.recall.keys()].sort()) console.log(line(name, own.recall.get(name) as Rate));
console.log('false alarms');
for (const [name, rate] of own.alarms) console.log(line(name, rate));

if (hasSamples) {
  const sets = readSamples();
  const { alarms, missed, alarmed } = measure(sets);
  const positive = [...sets].filter(([, samples]) => samples.some(({ spans }) => spans.length > 0));
  for (const part of [...positive.map((set) => [set]), positive]) {
    const { recall } = measure(new Map(part));
    console.log(`recall by kind, ${part.map(([name]) => name).join(' and ')}`);
    for (const name of [...recall.keys()].sort()) console.log(line(name, recall.get(name) as Rate));
    console.log(line('all', sum(recall.values())));
  }
  console.log('false alarms by file');
  for (const [name, rate] of alarms) console.log(line(name, rate));
  console.log(line('all', sum(alarms.values())));
  if (process.argv.includes('--misses')) {
    for (const { name, text } of missed) console.log(`missed  ${name}: ${text}`);
    for (const { name, text } of alarmed) console.log(`alarmed ${name}: ${text}`);
  }
} else console.log(`no labelled set: ${folder.pathname} does not exist`);

console.log('CPU');
const base = { projectId: 'trial-prod', runId: '018412aa-657d-7561-80a0-de8b67d7873a', stageId: 'adam-derive' };
const envelope = { ...base, timestamp: '2026-01-05T12:00:00.000Z', eventId: 'f2c1b6a0-5a3e-4b19-9c58-0c8d5a0b7e11' };
const message =
  'uploaded s3://trial-artifacts/d51350e0-22b0-4c1c-9870-30b42efd7a6e/dt=2021-02-16/out_00429593.csv: 4973169 bytes in 12.5 s, attempt 2 of 3, part 17 of 40; worker ip-10-119-131-60.ec2.internal';
const padded = `${message}. ${'The table was derived and compared with that of the second programmer. '.repeat(9)}`;
const progress = { type: 'stage.progress', ...envelope, progress: 42, done: 17, total: 40, attempt: 1, message: '' };
const room = 500 - JSON.stringify(progress).length;
const events: [string, object][] = [
  ['500 bytes, log line and prose', { ...progress, message: padded.slice(0, room) }],
  ['500 bytes, prose', { ...progress, message: padded.slice(message.length).slice(0, room) }],
  [
    '500 bytes, numbers all over',
    { ...progress, message: '12 345-67 8.9/10 mrn 3:4 phone 55 id '.repeat(9).slice(0, room) },
  ],
];
const guard = createPhiGuard(runwireEvents);
// Parsed, as from a request body: strings made by slice() may share memory and scan at another speed.
for (const [name, made] of events) {
  const event = JSON.parse(JSON.stringify(made));
  console.log(
    `  ${name.padEnd(34)}${median(() => guard(event as never, 'redact'))
      .toFixed(2)
      .padStart(8)} µs`,
  );
}
for (const piece of [
  '1-',
  '@',
  'mrn ',
  'a@b.',
  '123-45-',
  'patient id: ',
  '::',
  '(',
  'Mr. A',
  '4111 ',
  '%25',
  '&amp;',
  '\\',
  'c3Nu',
  '\u0662',
  '\ufdfa',
  'a/c ',
]) {
  const draft = { type: 'x', data: piece.repeat(Math.ceil((64 * 1024) / piece.length)).slice(0, 64 * 1024 - 1) };
  const begun = process.cpuUsage();
  for (let i = 0; i < 5; i++) {
    try {
      guard(draft as never, 'redact');
    } catch {}
  }
  const { user, system } = process.cpuUsage(begun);
  console.log(
    `  ${`64 KiB of ${JSON.stringify(piece)}`.padEnd(34)}${((user + system) / 5_000).toFixed(2).padStart(8)} ms`,
  );
}

/** CPU microseconds per call: the median of eleven runs of 20,000 calls. */
function median(call: () => unknown): number {
  const runs = Array.from({ length: 11 }, () => {
    const { user: before } = process.cpuUsage();
    for (let i = 0; i < 20_000; i++) call();
    return (process.cpuUsage().user - before) / 20_000;
  });
  return runs.sort((x, y) => x - y)[5] as number;
}
