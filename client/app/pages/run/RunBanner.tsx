import { useState } from 'react';
import { type RunView, useRunwire } from '../../../hooks/index.ts';
import { Copy } from '../../components/Copy.tsx';
import { Name } from '../../components/Name.tsx';
import { showToast } from '../../components/Toast.tsx';
import { ParamLink, setParams } from '../../lib/navigation.tsx';

/** Why the run failed. */
export function RunBanner({ run }: { run: RunView }) {
  const { error, stageError, stages } = run;
  if (!error) return null;
  const cause = stageError ?? error;
  const stageId = stageError?.stageId ?? error.stageId;
  const stageName = stages.find((stage) => stage.stageId === stageId)?.name ?? stageId;
  const isCancelled = error.code === 'CANCELLED';
  const hasOwnWords = stageError !== undefined && stageError.message !== error.message;
  return (
    <section className="failure" aria-labelledby="failure">
      <h2 id="failure">
        {isCancelled ? 'Cancelled' : 'Failed'}
        {stageId !== undefined && (
          <>
            {' in '}
            <ParamLink params={{ stage: stageId, attempt: undefined }} push>
              <Name>{stageName ?? stageId}</Name>
            </ParamLink>
          </>
        )}
        {cause.code !== undefined && !isCancelled && (
          <>
            {' '}
            <code>{cause.code}</code>
          </>
        )}
      </h2>
      <Lines>{cause.message}</Lines>
      {hasOwnWords && (
        <p className="own-words">
          <bdi dir="auto">{error.message}</bdi> {error.code !== undefined && !isCancelled && <code>{error.code}</code>}
        </p>
      )}
      <p className="tools">
        <ShowEvent run={run} stageId={stageError && stageId} />
        <Copy text={cause.message} what="the error" />
        {stageId !== undefined && (
          <button type="button" onClick={() => setParams({ stage: stageId, attempt: undefined }, { push: true })}>
            Show the stage
          </button>
        )}
      </p>
    </section>
  );
}

const LINES = 6;

/** The first six lines of a text, and a button that shows the rest. */
function Lines({ children }: { children: string }) {
  const [isWhole, setIsWhole] = useState(false);
  const [isCut, setIsCut] = useState(false);
  const measure = (box: HTMLElement | null) => {
    if (box && !isWhole && box.scrollHeight > box.clientHeight + 1 !== isCut) setIsCut(!isCut);
  };
  return (
    <>
      <p className="cause" ref={measure} dir="auto" style={isWhole ? undefined : { WebkitLineClamp: LINES }}>
        {children}
      </p>
      {(isCut || isWhole) && (
        <button type="button" className="more-lines" aria-expanded={isWhole} onClick={() => setIsWhole(!isWhole)}>
          {isWhole ? 'Less' : 'More'}
        </button>
      )}
    </>
  );
}

/** Leads to the event that reports the failure: the last failure of the stage, or the end of the run. */
function ShowEvent({ run, stageId }: { run: RunView; stageId: string | undefined }) {
  const { client } = useRunwire();
  const [isLooking, setIsLooking] = useState(false);
  const { projectId, runId } = run;
  const show = async () => {
    setIsLooking(true);
    try {
      const filter =
        stageId === undefined ? { types: ['run.failed' as const] } : { types: ['stage.failed' as const], stageId };
      const { runSeqs } = await client.run.positions.query({ projectId, runId, ...filter });
      const runSeq = runSeqs.at(-1);
      if (runSeq === undefined) showToast('The event was removed by retention');
      else setParams({ event: String(runSeq), tab: undefined, pane: undefined });
    } catch {
      showToast('Could not find the event. Try again');
    } finally {
      setIsLooking(false);
    }
  };
  return (
    <button type="button" onClick={() => void show()} aria-disabled={isLooking}>
      Show the event
    </button>
  );
}
