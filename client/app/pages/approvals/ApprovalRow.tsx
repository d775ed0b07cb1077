// biome-ignore-all lint/a11y/useSemanticElements: a grid of one column needs no table.
import type { Approval } from '../../../hooks/index.ts';
import { Name } from '../../components/Name.tsx';
import { decodedName } from '../../components/ProjectName.tsx';
import { Status } from '../../components/Status.tsx';
import { Time } from '../../components/Time.tsx';
import { ParamLink } from '../../lib/navigation.tsx';
import type { Box } from './boxes.ts';
import { grantsOf, quorumOf } from './card-state.ts';
import { Expiry } from './Expiry.tsx';
import { Deciders } from './Outcome.tsx';
import type { Row } from './useRows.ts';

type RowProps = {
  row: Row;
  box: Box;
  isSelected: boolean;
  /** The decisions as the card has them: a row that has left its box is no longer updated. */
  decisions: Approval['decisions'] | undefined;
  /** The outcome of the user's decision, while the row stays. */
  outcome: string | undefined;
  sub: string | undefined;
  rowProps: object;
  onSelect: (address: string) => void;
};

/** A row of the inbox: title, run, quorum, requester, and the time until it expires or its outcome. */
export function ApprovalRow({ row, box, isSelected, decisions, outcome, sub, rowProps, onSelect }: RowProps) {
  const { approval, address, hasLeft } = row;
  const { title, projectId, runId, runName, requiredApprovals, requestedBy, requestActor, requestedAt, status } =
    approval;
  const isPending = status === 'pending' && !hasLeft && outcome === undefined;
  return (
    // biome-ignore lint/a11y/useFocusableInteractive: `rowProps` has the tab index.
    <div
      role="row"
      aria-selected={isSelected}
      className={`approval-row${isSelected ? ' selected' : ''}${hasLeft ? ' left' : ''}`}
      {...rowProps}
    >
      {/* biome-ignore lint/a11y/useFocusableInteractive: the row has the focus. */}
      <div role="gridcell">
        <ParamLink
          className="row-title"
          params={{ a: address }}
          onClick={(event) => {
            if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
            event.preventDefault();
            onSelect(address);
          }}
        >
          <Name>{title}</Name>
        </ParamLink>
        <span className="row-facts">
          <span className="row-run">
            <Name>{decodedName(projectId)}</Name> · <Name>{runName ?? runId}</Name>
          </span>
          {requiredApprovals > 1 && (
            <span>
              {grantsOf(hasLeft && decisions ? { decisions } : approval).length} of {requiredApprovals}
            </span>
          )}
          {isPending && <Expiry expiresAt={approval.expiresAt} isShort />}
        </span>
        <span className="row-facts soft">
          {outcome !== undefined ? (
            <strong>{outcome}</strong>
          ) : hasLeft ? (
            'No longer waits for you'
          ) : box === 'expired' ? (
            <>
              <Status value="expired" /> {quorumOf(approval)} ·{' '}
              <Time at={approval.decidedAt ?? requestedAt} form="ago" />
            </>
          ) : isPending ? (
            <span>
              requested by <Name>{requestedBy ?? requestActor}</Name> <Time at={requestedAt} form="ago" />
            </span>
          ) : (
            <Outcome row={row} sub={sub} />
          )}
        </span>
      </div>
    </div>
  );
}

function Outcome({ row: { approval }, sub }: { row: Row; sub: string | undefined }) {
  const { status, decisions, decidedAt, requestedAt } = approval;
  if (status === 'expired') return <Status value="expired" />;
  const kind = status === 'granted' ? 'granted' : 'denied';
  const users = decisions.filter(({ decision }) => decision === kind).map(({ decidedBy }) => decidedBy);
  return (
    <>
      <Status value={kind === 'granted' ? 'approved' : 'denied'} />
      <span>
        by <Deciders users={users} sub={sub} /> <Time at={decidedAt ?? requestedAt} form="ago" />
      </span>
    </>
  );
}
