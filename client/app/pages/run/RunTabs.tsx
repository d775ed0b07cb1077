import type { ReactNode } from 'react';
import type { RunView } from '../../../hooks/index.ts';
import { Tabs } from '../../components/Tabs.tsx';
import { DecidedApprovals } from '../approvals/RunApprovals.tsx';
import { Artifacts } from './Artifacts.tsx';
import { AuditTab } from './audit/AuditTab.tsx';

/**
 * The parts of a run below its banners. `overview`: the timeline and the events. The id `output` is reserved for the output of
 * stages.
 */
export function RunTabs({ run, overview }: { run: RunView; overview: ReactNode }) {
  const tabs = [
    { id: 'overview', name: 'Overview', content: overview },
    {
      id: 'artifacts',
      name: 'Artifacts',
      count: run.artifacts.length,
      content:
        run.artifacts.length === 0 ? (
          <p className="soft">No artifacts {run.endedAt === undefined ? 'yet' : 'in this run'}.</p>
        ) : (
          <Artifacts artifacts={run.artifacts} stages={run.stages} />
        ),
    },
    {
      id: 'approvals',
      name: 'Approvals',
      count: run.approvals.length,
      content: <DecidedApprovals run={run} />,
    },
    { id: 'audit', name: 'Audit', content: <AuditTab run={run} /> },
  ];
  return <Tabs label="Parts of the run" tabs={tabs} />;
}
