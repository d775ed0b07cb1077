import type { ReactNode } from 'react';
import type { RunView } from '../../../hooks/index.ts';
import { Artifacts } from './Artifacts.tsx';

/** The parts of a run below its banners. `overview`: the timeline and the events. */
export const RunTabs = ({ run, overview }: { run: RunView; overview: ReactNode }) => (
  <>
    {overview}
    {run.artifacts.length > 0 && <Artifacts artifacts={run.artifacts} stages={run.stages} />}
  </>
);
