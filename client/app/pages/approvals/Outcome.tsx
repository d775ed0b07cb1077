import type { Approval, RunView } from '../../../hooks/index.ts';
import { Name } from '../../components/Name.tsx';
import { Status } from '../../components/Status.tsx';
import { Time } from '../../components/Time.tsx';

import { Link, runPath } from '../../lib/navigation.tsx';
import { type CardState, grantsOf, quorumOf } from './card-state.ts';
import { Words } from './Words.tsx';

type Decision = Approval['decisions'][number];

/** Names of users; the reader is `you`, last. */
export function Deciders({ users, sub }: { users: readonly string[]; sub: string | undefined }) {
  const others = [...new Set(users)].filter((user) => user !== sub);
  const isAmong = users.some((user) => user === sub);
  const names = [...others.map((user) => <Name key={user}>{user}</Name>), ...(isAmong ? ['you'] : [])];
  return names.map((name, at) => {
    const between = at === 0 ? '' : at === names.length - 1 ? ' and ' : ', ';
    return (
      <strong key={users[at]}>
        {between}
        {name}
      </strong>
    );
  });
}

/** The outcome of an approval in a word or two. */
export function OutcomeStatus({ approval, state }: Pick<OutcomeProps, 'approval' | 'state'>) {
  if (state === 'run over') return <Status value="run ended first">The run ended first</Status>;
  if (state === 'expired') return <Status value="expired">Expired</Status>;
  const isGranted = approval.status === 'granted';
  return <Status value={isGranted ? 'approved' : 'denied'}>{isGranted ? 'Approved' : 'Denied'}</Status>;
}

/** The outcome of an approval in one line. */
export function OutcomeLine({ approval, run, state, sub }: OutcomeProps) {
  const { status, decidedAt, decisions, expiresAt } = approval;
  if (state === 'expired') {
    return (
      <>
        <OutcomeStatus approval={approval} state={state} /> <Time at={decidedAt ?? expiresAt ?? ''} form="short" />:
        nobody decided in time ({quorumOf(approval)}).
      </>
    );
  }
  if (state === 'run over') {
    return (
      <>
        <OutcomeStatus approval={approval} state={state} /> ({run.status === 'completed' ? 'completed' : 'failed'}
        {run.endedAt !== undefined && (
          <>
            {' '}
            <Time at={run.endedAt} form="short" />
          </>
        )}
        ). Nothing to decide.
      </>
    );
  }
  const isGranted = status === 'granted';
  const deciding = isGranted ? grantsOf(approval) : decisions.filter(({ decision }) => decision === 'denied');
  const reason = isGranted ? undefined : deciding.at(-1)?.reason;
  return (
    <>
      <OutcomeStatus approval={approval} state={state} /> by{' '}
      <Deciders users={deciding.map(({ decidedBy }) => decidedBy)} sub={sub} />
      {decidedAt !== undefined && (
        <>
          , <Time at={decidedAt} form="short" />
        </>
      )}
      {isGranted && ` (${grantsOf(approval).length} of ${approval.requiredApprovals})`}
      {reason !== undefined && (
        <>
          {': '}
          <q>
            <Words>{reason}</Words>
          </q>
        </>
      )}
    </>
  );
}

type OutcomeProps = {
  approval: Approval;
  run: Pick<RunView, 'status' | 'endedAt'>;
  state: CardState;
  sub: string | undefined;
};

/** Each decision with its text, and a link to the run as its author saw it. */
export const Decisions = ({ decisions, sub, run }: DecisionsProps) => (
  <ul className="decisions">
    {decisions.map((decision) => (
      <li key={`${decision.decidedBy} ${decision.at}`}>
        <Status value={decision.decision === 'granted' ? 'approved' : 'denied'} /> by{' '}
        <Deciders users={[decision.decidedBy]} sub={sub} /> <Time at={decision.at} form="short" />
        <DecisionText decision={decision} />
        <WhatTheySaw decision={decision} run={run} />
      </li>
    ))}
  </ul>
);

type DecisionsProps = {
  decisions: readonly Decision[];
  sub: string | undefined;
  run: Pick<RunView, 'projectId' | 'runId'>;
};

function DecisionText({ decision: { comment, reason } }: { decision: Decision }) {
  const text = comment ?? reason;
  if (text === undefined) return null;
  return (
    <>
      {' '}
      <q>
        <Words>{text}</Words>
      </q>
    </>
  );
}

function WhatTheySaw({ decision, run }: { decision: Decision } & Omit<DecisionsProps, 'decisions' | 'sub'>) {
  const { seenRunSeq } = decision;
  if (seenRunSeq === undefined) return <span className="soft"> What they saw: not recorded (decided by the API)</span>;
  const href = `${runPath(run)}?at=${seenRunSeq}#approval`;
  return (
    <>
      {' '}
      <Link href={href}>What they saw</Link>
    </>
  );
}
