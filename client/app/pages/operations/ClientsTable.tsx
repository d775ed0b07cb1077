import { type CSSProperties, memo, type ReactNode, useCallback, useRef, useState } from 'react';
import { useRunwire } from '../../../hooks/index.ts';
import { Menu, MenuItem } from '../../components/Menu.tsx';
import { Name } from '../../components/Name.tsx';
import { Time } from '../../components/Time.tsx';
import { showToast } from '../../components/Toast.tsx';
import { useListFocus } from '../../hooks/useListFocus.ts';
import { NARROW, useMedia } from '../../hooks/useMedia.ts';
import { useSession } from '../../hooks/useSession.ts';
import { useRowPx } from '../../hooks/useSetting.ts';
import { rowsIn, scrollToRow, useViewport } from '../../hooks/useViewport.ts';
import { copyText } from '../../lib/copy.ts';
import { formatBytes, formatCount } from '../../lib/format.ts';
import { Disconnect } from './Disconnect.tsx';
import { useHold } from './useHold.ts';
import { type ClientRow, nameOf, useOrder } from './useOrder.ts';
import type { Clients } from './usePolls.ts';

const NARROW_ROW_PX = 68;

type Props = { data: Clients; isOffline: boolean; onChanged: () => void };

/** The connected clients, worst lag first. Only rows near the visible part are rendered. */
export function ClientsTable({ data, isOffline, onChanged }: Props) {
  const { client } = useRunwire();
  const { me } = useSession();
  const { isHeld, holdProps } = useHold();
  const [closing, setClosing] = useState<ClientRow | null>(null);
  const rows = useOrder(data, isHeld || closing !== null);
  const body = useRef<HTMLTableSectionElement>(null);
  const wideRowPx = useRowPx();
  const rowPx = useMedia(NARROW) ? NARROW_ROW_PX : wideRowPx;
  const shown = rowsIn(useViewport(body), rows.length, rowPx);
  const reveal = useCallback((index: number) => scrollToRow(body.current, index, rowPx), [rowPx]);
  const focus = useListFocus<HTMLTableElement>({
    name: 'clients',
    count: rows.length,
    keyOf: (index) => String(rows[index]?.id),
    open: (index) => openMenuOf(body.current, index),
    reveal,
    pageRows: Math.max(1, Math.floor(window.innerHeight / rowPx) - 4),
  });
  const drain = useCallback(
    async (row: ClientRow) => {
      try {
        await client.server.drain.mutate({ id: row.id });
        showToast(`Drained ${nameOf(row)}: it connects again by itself`);
      } catch (error) {
        showToast(`Could not drain ${nameOf(row)}: ${(error as Error).message}`);
      }
      onChanged();
    },
    [client, onChanged],
  );
  const unlisted = data.connections - data.clients.length;
  const { onFocus, onBlur, ...listProps } = focus.listProps;
  return (
    <>
      <p className="soft">
        {formatCount(data.clients.length)} {data.clients.length === 1 ? 'client' : 'clients'}, worst lag first.
        {unlisted > 0 && ` ${formatCount(unlisted)} more have other projects than you.`}
      </p>
      <table
        className="clients"
        // biome-ignore lint/a11y/noNoninteractiveElementToInteractiveRole: the keyboard moves between the rows.
        role="grid"
        style={{ '--row': `${rowPx}px` } as CSSProperties}
        aria-rowcount={rows.length + 1}
        {...holdProps}
        {...listProps}
        onFocus={(event) => {
          holdProps.onFocus();
          onFocus(event);
        }}
        onBlur={(event) => {
          holdProps.onBlur(event);
          onBlur(event);
        }}
      >
        <caption className="unseen">Clients, worst lag first. Numbers change in place.</caption>
        <thead>
          <tr>
            {columns.map(({ name, className }) => (
              <th scope="col" key={className} className={className}>
                {name}
              </th>
            ))}
            <th scope="col" className="act">
              <span className="unseen">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody ref={body} style={{ height: rows.length * rowPx }}>
          {focus.rows(shown).map((index) => {
            const row = rows[index] as ClientRow;
            const { tabIndex } = focus.rowProps(index);
            return (
              <Row
                key={row.id}
                row={row}
                index={index}
                topPx={index * rowPx}
                tabIndex={tabIndex}
                isYou={row.sub !== undefined && row.sub === me?.sub}
                isLocked={isOffline}
                onDrain={drain}
                onDisconnect={setClosing}
              />
            );
          })}
        </tbody>
      </table>
      {closing && (
        <Disconnect
          row={closing}
          isLocked={isOffline}
          onClose={() => {
            setClosing(null);
            onChanged();
          }}
        />
      )}
    </>
  );
}

type Column = { name: string; className: string; cell: (row: ClientRow) => ReactNode };

const columns: readonly Column[] = [
  { name: 'User', className: 'user-cell', cell: (row) => <Name>{nameOf(row)}</Name> },
  { name: 'Address', className: 'address', cell: ({ address }) => <code>{address}</code> },
  {
    name: 'Projects',
    className: 'projects',
    cell: ({ projects }) =>
      projects?.includes('*') ? 'all' : <span title={projects?.join(', ')}>{projects?.join(', ') || '–'}</span>,
  },
  { name: 'Since', className: 'since', cell: ({ connectedAt }) => <Time at={connectedAt} form="short" /> },
  { name: 'Subscriptions', className: 'subs number', cell: ({ subscriptions }) => formatCount(subscriptions) },
  { name: 'Lag', className: 'lag number', cell: ({ lag }) => formatCount(lag) },
  { name: 'Buffered', className: 'buffered number', cell: ({ unsentBytes }) => formatBytes(unsentBytes) },
  {
    name: 'Sent',
    className: 'sent number',
    cell: ({ sentPerSecond }) => (sentPerSecond === null ? '–' : `${formatBytes(Math.round(sentPerSecond))}/s`),
  },
  { name: 'State', className: 'state', cell: (row) => (row.isGone ? 'gone' : row.state) },
];

type RowProps = {
  row: ClientRow;
  index: number;
  topPx: number;
  tabIndex: 0 | -1;
  isYou: boolean;
  isLocked: boolean;
  onDrain: (row: ClientRow) => Promise<void>;
  onDisconnect: (row: ClientRow) => void;
};

const Row = memo(function Row({ row, index, topPx, tabIndex, isYou, isLocked, ...acts }: RowProps) {
  const isDisabled = row.isGone || isLocked;
  return (
    <tr
      aria-rowindex={index + 2}
      data-row={row.id}
      data-index={index}
      tabIndex={tabIndex}
      className={row.isGone ? 'gone' : row.state.replace(' ', '-')}
      style={{ transform: `translateY(${topPx}px)` }}
    >
      {columns.map(({ className, cell }, at) =>
        at === 0 ? (
          <th scope="row" key={className} className={className}>
            {cell(row)}
            {isYou && <small> you</small>}
          </th>
        ) : (
          <td key={className} className={className}>
            {cell(row)}
          </td>
        ),
      )}
      <td className="act">
        <Menu
          label={`Actions for ${nameOf(row)}`}
          trigger={
            <button type="button" className="icon" aria-label={`Actions for ${nameOf(row)}`}>
              ⋯
            </button>
          }
        >
          <MenuItem disabled={isDisabled} onSelect={() => void acts.onDrain(row)}>
            <span>
              Drain
              <small className="block">It reconnects elsewhere or here and loses nothing.</small>
            </span>
          </MenuItem>
          <MenuItem disabled={isDisabled} onSelect={() => acts.onDisconnect(row)}>
            Disconnect…
          </MenuItem>
          <MenuItem onSelect={() => copyText(String(row.id), 'Id copied')}>Copy id</MenuItem>
        </Menu>
      </td>
    </tr>
  );
});

/** Enter on a row opens its menu. Radix opens it for a key on the button. */
function openMenuOf(body: HTMLElement | null, index: number): void {
  const button = body?.querySelector<HTMLElement>(`[data-index="${index}"] .act button`);
  button?.focus();
  button?.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true }));
}
