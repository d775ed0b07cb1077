import { type ReactNode, useEffect, useRef, useState } from 'react';
import { type RunView, type UseRunReturn, useRun } from '../../../hooks/index.ts';
import { Name } from '../../components/Name.tsx';
import { Notice, Problem, Skeleton } from '../../components/Notice.tsx';
import { Past } from '../../components/Past.tsx';
import { Shell } from '../../components/Shell.tsx';
import { useAnswered } from '../../hooks/useAnswered.ts';
import { useKeys } from '../../hooks/useKeys.tsx';
import { HeldNow } from '../../hooks/useNow.ts';
import { announce } from '../../lib/announce.ts';
import { codeOf } from '../../lib/errors.ts';
import { formatCount } from '../../lib/format.ts';
import { Link, ParamLink, setParams, useParams } from '../../lib/navigation.tsx';
import { TellMe } from '../../notifications/TellMe.tsx';
import { RunApprovals } from '../approvals/RunApprovals.tsx';
import { EventFeed } from './events/EventFeed.tsx';
import { Overview } from './Overview.tsx';
import { RunBanner } from './RunBanner.tsx';
import { RunMenus } from './RunMenus.tsx';
import { RunSummary } from './RunSummary.tsx';
import { RunTabs } from './RunTabs.tsx';
import { StagePanel } from './StagePanel.tsx';
import { Timeline } from './Timeline.tsx';
import { TravelBar } from './travel/TravelBar.tsx';
import { type Travel, useTravel } from './travel/useTravel.ts';
import '../../styles/pages/run.css';
import '../../styles/pages/overview.css';
import '../../styles/pages/timeline.css';

export function RunPage({ projectId, runId }: { projectId: string; runId: string }) {
  const live = useRun({ projectId, runId });
  const { run, status, error, reconnect } = live;
  const answered = useAnswered(live);
  const logCount = useLogCount(live);
  useAnnouncedEnd(run);
  const { travel, enter } = useTravel(run, { projectId, runId });
  useKeys(run && !travel ? { t: { does: 'Time travel', act: enter } } : {});
  if (run && travel) return <PastRun live={run} travel={travel} />;
  return (
    <Shell title={run ? `${run.name} · ${run.status}` : runId} continuity={answered}>
      {run ? (
        <Run run={run} logCount={logCount} actions={<Actions run={run} onTravel={enter} />} />
      ) : status === 'pending' && !error ? (
        <Skeleton>Loading the run</Skeleton>
      ) : codeOf(error) === 'RUN_NOT_FOUND' || !error ? (
        <Notice
          title={
            <>
              Run “<Name>{runId}</Name>” has not started
            </>
          }
        >
          <p>
            This page fills by itself as soon as its first event arrives. If you followed a link, check that it is
            complete, or <Link href="/">go to Runs</Link>.
          </p>
        </Notice>
      ) : (
        <Problem error={error} onRetry={reconnect} />
      )}
    </Shell>
  );
}

/** Announces the end of a run that the page has shown before it ended. */
function useAnnouncedEnd(run: RunView | undefined): void {
  const open = useRef<string>(undefined);
  const key = run && JSON.stringify([run.projectId, run.runId]);
  const isOpen = run?.endedAt === undefined;
  const text = run && endOf(run);
  useEffect(() => {
    if (isOpen) open.current = key;
    else if (open.current === key && text !== undefined) {
      open.current = undefined;
      announce(text);
    }
  }, [key, isOpen, text]);
}

function endOf({ status, error, stageError }: RunView): string {
  if (status === 'completed') return 'Run completed';
  if (error?.code === 'CANCELLED') return 'Run cancelled';
  const cause = stageError ?? error;
  return `Run failed${cause ? `: ${cause.message}` : ''}`;
}

const Actions = ({ run, onTravel }: { run: RunView; onTravel: () => void }) => (
  <>
    <TellMe run={run} />
    <TravelButton onClick={onTravel} />
  </>
);

const TravelButton = ({ onClick }: { onClick: () => void }) => (
  <button type="button" onClick={onClick} title="The run as of an earlier event (t)">
    Time travel
  </button>
);

/** The page as of an earlier event. The clocks stop at the time of that event. */
function PastRun({ live, travel }: { live: RunView; travel: Travel }) {
  const { at, run, heldNowMs, error, leave } = travel;
  const where = `event ${formatCount(at)}`;
  const badge = (
    <div className="badge past">
      <span role="status">Past</span>
      <span className="detail">{` · ${where} of ${formatCount(live.lastRunSeq)}`}</span>
    </div>
  );
  return (
    <Shell title={`As of ${where} · ${live.name}`} badge={badge}>
      <Past value={true}>
        <TravelBar live={live} travel={travel} />
        <HeldNow value={heldNowMs}>
          {run ? (
            <Run run={run} logCount={0} actions={null} />
          ) : error ? (
            <Notice title={`There is no state at ${where}`}>
              <p>
                <button type="button" onClick={leave}>
                  Return to live
                </button>
              </p>
            </Notice>
          ) : (
            <Skeleton>Loading the run as of {where}</Skeleton>
          )}
        </HeldNow>
      </Past>
    </Shell>
  );
}

/**
 * Counts the event logs that the run was read from. The server may restart with another log or with an older copy of the
 * log, which has other events at the same positions. The event list then drops its events: the count is its React key.
 *
 * The count changes only when the new run is loaded (the phase `gap` ends). Before that, the page still shows the old run,
 * and the event list would look for the old run's events in the new log.
 */
function useLogCount({ gap, phase }: UseRunReturn): number {
  const [counted, setCounted] = useState({ gap, count: 0 });
  if (phase !== 'gap' && gap !== counted.gap) {
    const isOther = gap?.reason === 'epoch_changed' || gap?.reason === 'ahead';
    setCounted({ gap, count: counted.count + Number(isOther) });
  }
  return counted.count;
}

function Run({ run, logCount, actions }: { run: RunView; logCount: number; actions: ReactNode }) {
  const stageId = useParams().get('stage');
  const stage = stageId === null ? undefined : run.stages.find((one) => one.stageId === stageId);
  const close = () => {
    // Removing the panel would lose the focus. So a focus in the panel first moves to the row of the stage.
    const panel = document.activeElement?.closest('.stage-panel');
    const row = panel && (document.querySelector('.selected[data-row]') ?? document.querySelector('main'));
    if (row instanceof HTMLElement) row.focus();
    setParams({ stage: undefined, attempt: undefined });
  };
  useKeys(stage ? { Escape: { does: 'Close the stage', act: close } } : {});
  const panel = stage ? (
    <StagePanel run={run} stage={stage} onClose={close} />
  ) : stageId === null ? null : (
    <p className="stage-panel" role="status">
      There is no stage “{stageId}” in this run.{' '}
      <ParamLink params={{ stage: undefined, attempt: undefined }}>Clear</ParamLink>
    </p>
  );
  return (
    <div className="run-page">
      <RunSummary
        run={run}
        actions={
          <span className="run-actions">
            <RunMenus run={run} />
            {actions}
          </span>
        }
      />
      <RunBanner run={run} />
      <RunApprovals run={run} />
      <RunTabs
        run={run}
        overview={
          <Overview
            run={run}
            timeline={<Timeline run={run} />}
            panel={panel}
            events={<EventFeed key={logCount} run={run} />}
          />
        }
      />
    </div>
  );
}
