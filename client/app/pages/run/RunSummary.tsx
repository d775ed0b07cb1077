import { type ReactNode, useEffect, useRef, useState } from 'react';
import type { RunView } from '../../../hooks/index.ts';
import { Copy } from '../../components/Copy.tsx';
import { Name } from '../../components/Name.tsx';
import { Popover } from '../../components/Popover.tsx';
import { ProjectName } from '../../components/ProjectName.tsx';
import { Progress, Status } from '../../components/Status.tsx';
import { Time } from '../../components/Time.tsx';
import { NARROW, useMedia } from '../../hooks/useMedia.ts';
import { formatCount } from '../../lib/format.ts';
import { Link, ParamLink, runPath } from '../../lib/navigation.tsx';
import { RunClock, useRunTimes } from './RunClock.tsx';

/** The header of a run, and its form in one line once the header is scrolled out of view. */
export function RunSummary({ run, actions }: { run: RunView; actions?: ReactNode }) {
  const { projectId, runId, name, progress, createdBy, parentRunId, summary, currentStageId } = run;
  const [isWhole, setIsWhole] = useState(false);
  const header = useRef<HTMLElement>(null);
  const isOut = useIsOut(header);
  const begun = run.startedAt ?? run.createdAt;
  return (
    <>
      <div className="run-line" aria-hidden="true">
        {isOut && <RunLine run={run} />}
      </div>
      <section className="summary" aria-label="Summary" ref={header}>
        <p className="ids">
          <Link href="/" aria-label="All runs">
            Runs
          </Link>
          <span aria-hidden="true"> / </span>
          <Link href={`/?project=${encodeURIComponent(projectId)}`}>
            <ProjectName projectId={projectId} />
          </Link>
          <span aria-hidden="true"> / </span>
          <span className="id">
            <Name>{runId}</Name>
          </span>
          <Copy text={runId} what="the run id" />
          <span className="grow" />
          {actions}
        </p>
        <div className="headline">
          {/* biome-ignore lint/a11y/useKeyWithClickEvents: a click only shows the rest of a long name, which readers read. */}
          <h1 className={isWhole ? '' : 'cut'} title={name} onClick={() => setIsWhole(!isWhole)}>
            <Name>{name}</Name>
          </h1>
          <Status value={statusOf(run)} />
          {run.counts.stages > 0 && <Progress value={progress} label="Progress of the run" status={run.status} />}
        </div>
        <dl className="facts">
          <RunClock run={run} />
          <div>
            <dt>{run.startedAt === undefined ? 'created' : 'since'}</dt>
            <dd>
              <Time at={begun} form="short" />
            </dd>
          </div>
          {createdBy !== undefined && (
            <div>
              <dt>by</dt>
              <dd>
                <Name>{createdBy}</Name>
              </dd>
            </div>
          )}
          {currentStageId !== undefined && (
            <div className="current">
              <dt>in</dt>
              <dd>
                <ParamLink params={{ stage: currentStageId }} push title={run.currentStageName ?? currentStageId}>
                  <Name>{run.currentStageName ?? currentStageId}</Name>
                </ParamLink>
              </dd>
            </div>
          )}
          {parentRunId !== undefined && (
            <div>
              <dt>Parent run</dt>
              <dd>
                <Link href={runPath({ projectId, runId: parentRunId })}>
                  <Name>{parentRunId}</Name>
                </Link>
              </dd>
            </div>
          )}
          <Labels labels={run.labels} />
        </dl>
        {summary !== undefined && (
          <p className="outcome" dir="auto">
            {summary}
          </p>
        )}
      </section>
    </>
  );
}

const statusOf = ({ status, error }: RunView) => (error?.code === 'CANCELLED' ? 'cancelled' : status);

function RunLine({ run }: { run: RunView }) {
  const { parts } = useRunTimes(run);
  const growing = parts.find(({ isGrowing }) => isGrowing) ?? parts.at(-1);
  const { approvalsPending } = run.counts;
  return (
    <div className="line">
      <strong>
        <Name>{run.name}</Name>
      </strong>
      <Status value={statusOf(run)} />
      {growing && (
        <span>
          {growing.name} {growing.text}
        </span>
      )}
      {approvalsPending > 0 && run.endedAt === undefined && (
        <span className="label">
          {formatCount(approvalsPending)} {approvalsPending === 1 ? 'approval waits' : 'approvals wait'}
        </span>
      )}
    </div>
  );
}

/** Returns true once the element is above the visible part of the page. */
function useIsOut(element: React.RefObject<HTMLElement | null>): boolean {
  const [isOut, setIsOut] = useState(false);
  useEffect(() => {
    if (!element.current) return;
    const observer = new IntersectionObserver(([entry]) => {
      if (entry) setIsOut(!entry.isIntersecting && entry.boundingClientRect.bottom < 60);
    });
    observer.observe(element.current);
    return () => observer.disconnect();
  }, [element]);
  return isOut;
}

const SHOWN_LABELS = 3;

/** The first labels; a list of all is behind `+n`. */
function Labels({ labels }: { labels: RunView['labels'] }) {
  const shown = useMedia(NARROW) ? 1 : SHOWN_LABELS;
  const all = Object.entries(labels);
  if (all.length === 0) return null;
  return (
    <div className="labels">
      <dt className="unseen">Labels</dt>
      <dd>
        {all.slice(0, shown).map(([label, value]) => (
          <Link key={label} className="label" href={hrefOf(label, value)} title={`Runs with ${label}=${value}`}>
            <Name>{`${label}=${value}`}</Name>
          </Link>
        ))}
        {all.length > shown && (
          <Popover
            label="Labels"
            trigger={
              <button type="button" className="label" aria-label={`All ${formatCount(all.length)} labels`}>
                +{formatCount(all.length - shown)}
              </button>
            }
          >
            <table className="all-labels">
              <caption className="unseen">Labels</caption>
              <tbody>
                {all.map(([label, value]) => (
                  <tr key={label}>
                    <th scope="row">
                      <Name>{label}</Name>
                    </th>
                    <td>
                      <Link href={hrefOf(label, value)} title={`Runs with ${label}=${value}`}>
                        <Name>{value}</Name>
                      </Link>
                    </td>
                    <td>
                      <Copy text={`${label}=${value}`} what={`the label ${label}`} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Popover>
        )}
      </dd>
    </div>
  );
}

const hrefOf = (label: string, value: string) => `/?label=${encodeURIComponent(`${label}=${value}`)}`;
