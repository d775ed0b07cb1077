import { Name } from '../../components/Name.tsx';
import { Notice, Problem, Skeleton } from '../../components/Notice.tsx';
import { Shell } from '../../components/Shell.tsx';
import { Time } from '../../components/Time.tsx';
import { useListFocus } from '../../hooks/useListFocus.ts';
import { formatCount } from '../../lib/format.ts';
import { Link, navigate } from '../../lib/navigation.tsx';
import { useWebhooks, type WebhookSummary } from './data.ts';
import { GapNote, State } from './State.tsx';
import { filterText, presets, waitingText } from './words.ts';
import '../../styles/pages/webhooks.css';

const hrefOf = (id: string) => `/settings/webhooks/${encodeURIComponent(id)}`;
const NEW = '/settings/webhooks/new';

/** The webhooks of the server: `/settings/webhooks`. */
export function WebhooksPage() {
  const { data, error, refetch } = useWebhooks();
  return (
    <Shell title="Webhooks">
      {!data && error && <Problem error={error} onRetry={() => void refetch()} />}
      {!data && !error && <Skeleton onRetry={() => void refetch()}>Loading the webhooks</Skeleton>}
      {data && data.webhooks.length === 0 && <NoWebhooks />}
      {data && data.webhooks.length > 0 && (
        <>
          <div className="title">
            <h1>Webhooks</h1>
            <span className="grow" />
            <Link className="primary" href={NEW}>
              New webhook
            </Link>
          </div>
          {error && <Stale />}
          <List webhooks={data.webhooks} />
        </>
      )}
    </Shell>
  );
}

const Stale = () => (
  <p className="webhook-stale" role="status">
    The server cannot be reached. What you see may be old.
  </p>
);

const NoWebhooks = () => (
  <Notice title="Webhooks">
    <p>Tell another system when runs fail or approvals wait.</p>
    <ul className="presets">
      {Object.entries(presets).map(([id, { name }]) => (
        <li key={id}>
          <Link href={`${NEW}?filter=${id}`}>{name}</Link>
        </li>
      ))}
    </ul>
    <p>
      <Link className="primary" href={NEW}>
        New webhook
      </Link>
    </p>
  </Notice>
);

function List({ webhooks }: { webhooks: readonly WebhookSummary[] }) {
  const list = useListFocus<HTMLUListElement>({
    name: 'webhooks',
    count: webhooks.length,
    keyOf: (index) => webhooks[index]?.id ?? '',
    open: (index) => navigate(hrefOf(webhooks[index]?.id ?? '')),
  });
  return (
    <div className="webhook-list">
      <div className="webhook-row head" aria-hidden="true">
        {['Name', 'Sends', 'State', 'Waiting', 'Last success', 'Dead letters'].map((name) => (
          <span key={name}>{name}</span>
        ))}
      </div>
      <ul aria-label="Webhooks" {...list.listProps}>
        {webhooks.map((webhook, index) => (
          <Row key={webhook.id} webhook={webhook} props={list.rowProps(index)} />
        ))}
      </ul>
    </div>
  );
}

function Row({ webhook, props }: { webhook: WebhookSummary; props: object }) {
  const { id, name, host, filter, oldestWaitingAt, lastSuccessAt, deadLetters, gap } = webhook;
  return (
    <li className="webhook-row" {...props}>
      <span className="who">
        <Link className="whole-row" href={hrefOf(id)} tabIndex={-1}>
          <Name>{name}</Name>
        </Link>
        <small>{host}</small>
      </span>
      <span>{filterText(filter)}</span>
      <span>
        <State webhook={webhook} />
        {gap && <GapNote gap={gap} />}
      </span>
      <span>
        <span className="cell-name">Waiting: </span>
        {waitingText(webhook)}
        {oldestWaitingAt !== undefined && (
          <small>
            oldest <Time at={oldestWaitingAt} form="ago" />
          </small>
        )}
      </span>
      <span>
        <span className="cell-name">Last success: </span>
        {lastSuccessAt === undefined ? 'none yet' : <Time at={lastSuccessAt} form="ago" />}
      </span>
      <span>
        <span className="cell-name">Dead letters: </span>
        {deadLetters === 0 ? 'none' : <strong className="dead-count">{formatCount(deadLetters)}</strong>}
      </span>
    </li>
  );
}
