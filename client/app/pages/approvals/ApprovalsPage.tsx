import { useRef } from 'react';
import { type ApprovalCounts, useApprovals } from '../../../hooks/index.ts';
import { Problem, Skeleton } from '../../components/Notice.tsx';
import { Shell } from '../../components/Shell.tsx';
import { useAnswered } from '../../hooks/useAnswered.ts';
import { leaveField } from '../../hooks/useKeys.tsx';
import { useMedia } from '../../hooks/useMedia.ts';
import { useSession } from '../../hooks/useSession.ts';
import { formatCount } from '../../lib/format.ts';
import { ParamLink, setParams, useParams } from '../../lib/navigation.tsx';
import { ApprovalList } from './ApprovalList.tsx';
import { type Box, boxes, boxNames, keyOfAddress } from './boxes.ts';
import { InboxCard } from './InboxCard.tsx';
import { NoApprovals } from './NoApprovals.tsx';
import { type Inbox, useInbox, WIDE } from './useInbox.ts';
import '../../styles/pages/approvals.css';

const PAGE_APPROVALS = 200;

/** The inbox: approvals that wait for the user, and others, with the card of the selected one. */
export function ApprovalsPage() {
  const { me, can } = useSession();
  const canDecide = me === undefined || can('approver') || me.roles.some((role) => !plainRoles.includes(role));
  const shownBoxes = canDecide ? boxes : boxes.filter((box) => box !== 'mine');
  const params = useParams();
  const box = shownBoxes.find((one) => one === params.get('box')) ?? (shownBoxes[0] as Box);
  const projectId = params.get('project') ?? undefined;
  const text = params.get('q') ?? '';
  const list = useApprovals({ box, projectId, limit: PAGE_APPROVALS });
  const answered = useAnswered(list);
  const { status, error, approvals, counts, reconnect } = list;
  const inbox = useInbox(box, approvals, text);
  const isWide = useMedia(WIDE);
  const isAlone = !isWide && inbox.selected !== undefined;
  return (
    <Shell title="Approvals" continuity={answered}>
      <div ref={inbox.page} className="inbox-page">
        {!isAlone && (
          <div className="inbox-head">
            <h1>Approvals</h1>
            <Boxes boxes={shownBoxes} box={box} counts={counts} />
            <Search text={text} />
          </div>
        )}
        {!canDecide && !isAlone && <p className="soft">You can see approvals, but deciding needs the role approver.</p>}
        {inbox.rows.length === 0 && !inbox.selected ? (
          status === 'error' && error ? (
            <Problem error={error} onRetry={reconnect} />
          ) : status === 'pending' ? (
            <Skeleton>Loading approvals</Skeleton>
          ) : (
            <NoApprovals box={box} isFiltered={text !== '' || projectId !== undefined} projectId={projectId ?? null} />
          )
        ) : (
          <div className="inbox">
            {!isAlone && <ApprovalList inbox={inbox} box={box} list={list} sub={me?.sub} />}
            {(isWide || isAlone) && <Pane inbox={inbox} isAlone={isAlone} />}
          </div>
        )}
      </div>
    </Shell>
  );
}

const plainRoles: readonly string[] = ['viewer', 'producer', 'admin'];

type BoxesProps = { boxes: readonly Box[]; box: Box; counts: ApprovalCounts | undefined };

/** Links to the boxes, with the number of those that wait for somebody. */
const Boxes = ({ boxes, box, counts }: BoxesProps) => (
  <nav aria-label="Boxes" className="boxes">
    {boxes.map((one) => {
      const count = one === 'mine' || one === 'asked' ? counts?.[one] : undefined;
      return (
        <ParamLink
          key={one}
          className="chip"
          params={{ box: one === boxes[0] ? undefined : one, a: undefined }}
          aria-current={one === box ? 'page' : undefined}
        >
          {boxNames[one]}
          {count !== undefined && count > 0 && (
            <span className="count"> {count > 99 ? '99+' : formatCount(count)}</span>
          )}
        </ParamLink>
      );
    })}
  </nav>
);

const Search = ({ text }: { text: string }) => (
  <input
    type="search"
    aria-label="Filter approvals"
    placeholder="Filter"
    value={text}
    onChange={(event) => setParams({ q: event.target.value || undefined })}
    onKeyDown={(event) => {
      if (event.key === 'Escape') leaveField(event);
    }}
  />
);

/** The selected approval. In a narrow window it is a page of its own. */
function Pane({ inbox, isAlone }: { inbox: Inbox; isAlone: boolean }) {
  const { selected, rows, at, next, outcomes, goOn, step, decided, intent, onIntentDone } = inbox;
  const key = keyOfAddress(selected ?? null);
  const outcome = selected === undefined ? undefined : outcomes.get(selected);
  const note = useRef<HTMLButtonElement>(null);
  return (
    <div className="inbox-pane" data-address={selected} tabIndex={-1}>
      {isAlone && <h1 className="unseen">Approvals</h1>}
      {isAlone && (
        <nav aria-label="Approvals" className="pane-nav">
          <ParamLink params={{ a: undefined }}>
            Back to approvals{at >= 0 && ` (${formatCount(at + 1)} of ${formatCount(rows.length)})`}
          </ParamLink>
          <span className="grow" />
          <button type="button" disabled={at <= 0} onClick={step(-1)}>
            Previous
          </button>
          <button type="button" disabled={at < 0 || at >= rows.length - 1} onClick={step(1)}>
            Next
          </button>
        </nav>
      )}
      {outcome !== undefined && (
        <p className="decided-note">
          <strong>{outcome}.</strong>{' '}
          <button type="button" ref={note} className="next" onClick={goOn}>
            {next ? `Next: ${next.approval.title}` : 'Back to approvals'}
          </button>{' '}
          <kbd>]</kbd>
        </p>
      )}
      {key && selected !== undefined && (
        <InboxCard
          key={selected}
          approvalKey={key}
          intent={intent}
          onIntentDone={onIntentDone}
          onShown={inbox.onShown}
          onDecided={(decision) => {
            decided(selected, decision);
            setTimeout(() => note.current?.focus(), 50);
          }}
        />
      )}
    </div>
  );
}
