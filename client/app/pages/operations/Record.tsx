import { type ReactNode, useState } from 'react';
import { useRunwire } from '../../../hooks/index.ts';
import { Copy } from '../../components/Copy.tsx';
import { Name } from '../../components/Name.tsx';
import { Time } from '../../components/Time.tsx';
import { announce } from '../../lib/announce.ts';
import { formatBytes, formatCount, formatDuration } from '../../lib/format.ts';
import type { ServerRecord } from './usePolls.ts';

type Props = { data: ServerRecord; isOffline: boolean; onChanged: () => void };
type Verification = NonNullable<ServerRecord['record']['verified']>;

const days = (count: number) => `${formatCount(count)} ${count === 1 ? 'day' : 'days'}`;
const events = (count: number) => `${formatCount(count)} ${count === 1 ? 'event' : 'events'}`;

/** The log, what proves that it is whole, and the server that holds it. */
export function Record({ data, isOffline, onChanged }: Props) {
  const { record, checkpoint, erasures, epoch, retentionDays, retentionRunsDays, databaseBytes, walBytes } = data;
  return (
    <dl className="record">
      <Fact name="Head">
        event {formatCount(record.seq)}, hash <code>{record.hashPrefix}…</code>
      </Fact>
      <Fact name="Oldest">
        {record.oldest > record.seq ? 'no event is kept' : `event ${formatCount(record.oldest)}`}
      </Fact>
      <Fact name="Epoch">
        <code>{epoch}</code> <Copy text={epoch} what="epoch" />
      </Fact>
      <Fact name="Size">
        {databaseBytes === 0
          ? 'in memory: lost when the server stops'
          : `${formatBytes(databaseBytes)}${walBytes === 0 ? '' : `, WAL ${formatBytes(walBytes)}`}`}
      </Fact>
      <Fact name="Retention">
        {retentionDays === null ? 'events are kept for good' : `events: ${days(retentionDays)}`}
        {', '}
        {retentionRunsDays === null ? 'runs are kept for good' : `runs: ${days(retentionRunsDays)}`}
        {data.isRetentionPaused && (
          <span className="limit">
            paused: the clock of the server may be wrong. Run “runwire clock” to confirm it.
          </span>
        )}
      </Fact>
      <Fact name="Last checkpoint">
        {checkpoint ? (
          <>
            event {formatCount(checkpoint.seq)}, <Time at={checkpoint.at} form="ago" />
          </>
        ) : (
          'none yet'
        )}
      </Fact>
      <Fact name="Last verification">
        <Verify verified={record.verified} isOffline={isOffline} onChanged={onChanged} />
      </Fact>
      <Fact name="Erasures">{erasures === 0 ? 'none' : `${events(erasures)} without their text`}</Fact>
      <Fact name="Search index">{data.searchLag === 0 ? 'up to date' : `${events(data.searchLag)} behind`}</Fact>
      <Fact name="Nodes">
        {data.nodes.length === 1 && <span className="block">One node.</span>}
        {data.nodes.length > 1 &&
          data.nodes.map(({ id, head, connections, uptimeMs }, index) => (
            <span className="block" key={id}>
              <code>{id.slice(0, 8)}</code>
              {index === 0 && ', this one'}: event {formatCount(head)}, {formatCount(connections)}{' '}
              {connections === 1 ? 'connection' : 'connections'}, up for {formatDuration(uptimeMs)}
            </span>
          ))}
        <span className="block soft">
          Runwire {data.version}, up for {formatDuration(data.uptimeMs)}
        </span>
      </Fact>
    </dl>
  );
}

const Fact = ({ name, children }: { name: string; children: ReactNode }) => (
  <div>
    <dt>{name}</dt>
    <dd>{children}</dd>
  </div>
);

function Verify({ verified, isOffline, onChanged }: { verified: Verification | undefined } & Omit<Props, 'data'>) {
  const { client } = useRunwire();
  const [isBusy, setIsBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const verify = async () => {
    setIsBusy(true);
    setProblem(null);
    try {
      announce(outcomeOf(await client.audit.verify.query({})));
      onChanged();
    } catch (error) {
      setProblem((error as Error).message);
    }
    setIsBusy(false);
  };
  return (
    <>
      {verified ? (
        <span className="block">
          <strong className={verified.verdict.ok ? 'intact' : 'broken'}>{outcomeOf(verified.verdict)}</strong>
          <br />
          by <Name>{verified.by}</Name>, <Time at={verified.at} form="ago" />
        </span>
      ) : (
        <span className="block">not since the start of the server</span>
      )}
      <button type="button" className="verify" disabled={isBusy || isOffline} onClick={() => void verify()}>
        {isBusy ? 'Verifying…' : 'Verify now'}
      </button>
      {problem !== null && <span role="alert"> Could not verify: {problem}</span>}
    </>
  );
}

function outcomeOf(verdict: Verification['verdict']): string {
  if (verdict.ok) return `Intact: ${events(verdict.events)}, head ${verdict.hash.slice(0, 8)}…`;
  return `Does not hold at event ${formatCount(verdict.seq)} (${verdict.reason})`;
}
