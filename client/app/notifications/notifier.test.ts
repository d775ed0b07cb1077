import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Note, Notifier } from './notifier.ts';

/** Notifications that are shown, oldest first. One with the same tag replaces an earlier one, as in a browser. */
let shown: { title: string; tag: string }[] = [];

class Shown {
  onclick: (() => void) | null = null;
  readonly tag: string;

  constructor(title: string, { tag }: { tag: string }) {
    this.tag = tag;
    shown = [...shown.filter((one) => one.tag !== tag), { title, tag }];
  }

  close(): void {
    shown = shown.filter(({ tag }) => tag !== this.tag);
  }
}

const original = Object.getOwnPropertyDescriptor(globalThis, 'Notification');
beforeEach(() => {
  shown = [];
  Object.defineProperty(globalThis, 'Notification', { configurable: true, value: Shown });
});
afterEach(() => {
  if (original) Object.defineProperty(globalThis, 'Notification', original);
  else Reflect.deleteProperty(globalThis, 'Notification');
});

const note = (tag: string, more: Partial<Note> = {}): Note => ({
  tag,
  kind: 'approval',
  title: `Approval: ${tag}`,
  href: `/${tag}`,
  ...more,
});
const titles = () => shown.map(({ title }) => title);

test('[U29] more than three notifications in 10 s become one with their number', () => {
  let nowMs = 0;
  const notifier = new Notifier({ open: () => {}, now: () => nowMs });
  for (const tag of ['a', 'b', 'c']) notifier.show(note(tag));
  expect(titles()).toEqual(['Approval: a', 'Approval: b', 'Approval: c']);
  notifier.show(note('d'));
  notifier.show(note('e'));
  expect(titles()).toEqual(['5 approvals wait for you']);
  notifier.show(note('f', { kind: 'other', title: 'Failed: f' }));
  expect(titles()).toEqual(['6 new notifications']);
  nowMs = 20_000;
  notifier.show(note('g'));
  expect(titles()).toEqual(['6 new notifications', 'Approval: g']);
});

test('[U29] a decision replaces its request, and a request that is decided elsewhere is closed', () => {
  const notifier = new Notifier({ open: () => {} });
  notifier.show(note('a'));
  notifier.show(note('b'));
  notifier.show(note('a', { kind: 'other', title: 'Approved: a' }));
  expect(titles()).toEqual(['Approval: b', 'Approved: a']);
  notifier.close('b');
  expect(titles()).toEqual(['Approved: a']);
});
