import { testResume } from './resume.ts';

// More rounds: RUNWIRE_REPETITIONS=100 npm run test:long -- resume
// One round again: RUNWIRE_SEED=12345 npm run test:long -- resume
testResume(Number(process.env.RUNWIRE_REPETITIONS ?? 20));
