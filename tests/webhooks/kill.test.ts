import { test } from 'vitest';
import { killWhileSending } from './kill.ts';

test('[O2] a server that is killed 3 times sends each event at least once, in order of its run, under one id', async () => {
  await killWhileSending({ kills: 3, seed: 21 });
});
