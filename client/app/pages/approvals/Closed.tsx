import { useEffect, useRef } from 'react';
import type { Approval, RunView, RunwireError } from '../../../hooks/index.ts';
import { Name } from '../../components/Name.tsx';
import { Time } from '../../components/Time.tsx';
import { announce } from '../../lib/announce.ts';
import { CopyText, ReadOnlyText } from './Actions.tsx';
import type { CardState, Rights } from './card-state.ts';
import { Deciders, OutcomeLine } from './Outcome.tsx';

type ClosedProps = {
  approval: Approval;
  run: RunView;
  state: CardState;
  rights: Rights | undefined;
  sub: string | undefined;
  refusal: RunwireError | undefined;
  text: string;
  decision: 'granted' | 'denied';
  onClose: () => void;
};

/** The dialog once its approval can no longer be decided by the user: the outcome, and the text that was not sent. */
export function Closed(props: ClosedProps) {
  const { text, decision, onClose } = props;
  const box = useRef<HTMLParagraphElement>(null);
  useEffect(() => {
    box.current?.focus();
    announce(box.current?.textContent ?? '', 'assertive');
  }, []);
  return (
    <>
      <p className="closed" ref={box} tabIndex={-1}>
        <Why {...props} />
      </p>
      <div className="dialog-buttons">
        {text.trim() !== '' && (
          <CopyText
            label={decision === 'granted' ? 'Copy your comment' : 'Copy your reason'}
            done="Text copied"
            text={() => text}
          />
        )}
        <button type="button" className="primary" onClick={onClose}>
          Close
        </button>
      </div>
    </>
  );
}

function Why({ approval, run, state, rights, sub, refusal }: ClosedProps) {
  const { status, decisions, decidedAt } = approval;
  if (state === 'decided') {
    const kind = status === 'granted' ? 'granted' : 'denied';
    const deciding = decisions.filter((one) => one.decision === kind);
    const reason = deciding.at(-1)?.reason;
    return (
      <>
        <Deciders users={deciding.map(({ decidedBy }) => decidedBy)} sub={sub} />{' '}
        {kind === 'granted' ? 'approved' : 'denied'} this{' '}
        {decidedAt !== undefined && <Time at={decidedAt} form="ago" />}
        {reason !== undefined && (
          <>
            :{' '}
            <q>
              <Name>{reason}</Name>
            </q>
          </>
        )}
      </>
    );
  }
  if (state === 'expired' || state === 'run over') {
    return <OutcomeLine approval={approval} run={run} state={state} sub={sub} />;
  }
  if (refusal?.code === 'APPROVAL_ALREADY_DECIDED') {
    const { outcome } = refusal;
    return (
      <>
        <Deciders users={outcome?.decidedBy ?? ['Somebody else']} sub={sub} />{' '}
        {outcome?.status === 'granted' ? 'approved' : 'denied'} this
      </>
    );
  }
  if (refusal?.code === 'APPROVAL_EXPIRED') return 'Expired: nobody decided in time.';
  return (
    <>
      You can no longer decide this: <ReadOnlyText approval={approval} rights={rights} projectId={run.projectId} />
    </>
  );
}
