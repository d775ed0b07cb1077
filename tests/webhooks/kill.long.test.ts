import { test } from 'vitest';
import { killWhileSending } from './kill.ts';

test('[O2] a server that is killed 30 times sends each event at least once, in order of its run, under one id', async () => {
  await killWhileSending({ kills: 30, seed: 22 });
}, 600_000);
