import type { ReactNode } from 'react';
import type { RunView } from '../../../hooks/index.ts';
import { Approvals } from './Approvals.tsx';
import { Artifacts } from './Artifacts.tsx';

/** The parts of a run below its banners. `overview`: the timeline and the events. */
export const RunTabs = ({ run, overview }: { run: RunView; overview: ReactNode }) => (
  <>
    {overview}
    {run.approvals.length > 0 && <Approvals run={run} />}
    {run.artifacts.length > 0 && <Artifacts artifacts={run.artifacts} stages={run.stages} />}
  </>
);
