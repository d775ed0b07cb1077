import { useCallback, useEffect, useState } from 'react';
import { type RunView, type UseRunAtReturn, useConnection, useRunAt } from '../../../../hooks/index.ts';
import { announce } from '../../../lib/announce.ts';
import { setParams, useParams } from '../../../lib/navigation.tsx';

/** Browsers limit changes of the address: while the position moves, the address follows after this time. */
const ADDRESS_DELAY_MS = 250;

export type Travel = UseRunAtReturn & {
  /** Number of the event that the page shows the run as of. */
  at: number;
  /** The time of that event, by the clock of this device (Unix ms): clocks of the page stop there. */
  heldNowMs: number | null;
  go(runSeq: number): void;
  leave(): void;
};

const positionOf = (text: string | null): number | null =>
  text !== null && /^[1-9]\d{0,14}$/.test(text) ? Number(text) : null;

/**
 * Shows a run as of one of its events, which `at` in the address names. Returns null while the page is live. `enter` begins at
 * the event that `event` in the address names, or at the latest one.
 */
export function useTravel(live: RunView | undefined, run: { projectId: string; runId: string }) {
  const params = useParams();
  const inAddress = positionOf(params.get('at'));
  const linked = positionOf(params.get('event'));
  /** A position that the address does not have yet. */
  const [ahead, setAhead] = useState<number | null>(null);
  const at = inAddress === null ? null : (ahead ?? inAddress);
  const { serverTimeOffsetMs } = useConnection();
  const past = useRunAt({ ...run, runSeq: at });
  // The Back button has left the past: a position that waits for the address must not return to it.
  if (inAddress === null && ahead !== null) setAhead(null);
  useEffect(() => {
    if (ahead === null) return;
    const timer = setTimeout(() => {
      setParams({ at: String(ahead) });
      setAhead(null);
    }, ADDRESS_DELAY_MS);
    return () => clearTimeout(timer);
  }, [ahead]);
  const lastRunSeq = live?.lastRunSeq;
  const enter = useCallback(() => {
    if (lastRunSeq === undefined) return;
    const first = linked !== null && linked <= lastRunSeq ? linked : lastRunSeq;
    setParams({ at: String(first) }, { push: true });
    announce(`Time travel: event ${first} of ${lastRunSeq}`);
  }, [lastRunSeq, linked]);
  const go = useCallback(
    (runSeq: number) => setAhead(Math.min(Math.max(1, runSeq), lastRunSeq ?? runSeq)),
    [lastRunSeq],
  );
  const leave = useCallback(() => {
    setAhead(null);
    setParams({ at: undefined }, { push: true });
    announce('Live again');
  }, []);
  if (at === null) return { travel: null, enter };
  const heldNowMs = past.event ? Date.parse(past.event.timestamp) - serverTimeOffsetMs : null;
  const travel: Travel = { ...past, at, heldNowMs, go, leave };
  return { travel, enter };
}
