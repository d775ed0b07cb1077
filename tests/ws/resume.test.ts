import { testResume } from './resume.ts';

testResume(2);
