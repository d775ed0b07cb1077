import { inject } from 'vitest';
import { opening } from '../support/harness.ts';
import { openAsOne } from '../support/shared-log.ts';

/** Suites that were written for one server run on three servers in the project `cluster`. */
if (inject('postgres') !== undefined) opening.inMemory = openAsOne;
