import { useEffect, useState } from 'react';
import type { Clients, ConnectedClient } from './usePolls.ts';

/** A row of the table. `isGone`: the client has disconnected; its row stays while the table is held. */
export type ClientRow = ConnectedClient & { isGone: boolean };

export const nameOf = ({ sub }: Pick<ClientRow, 'sub'>): string => sub ?? 'a client without a token';

const SORT_MS = 3_000;
type Order = { rows: ClientRow[]; sortedAtMs: number };

/**
 * Returns the clients, worst lag first. They are sorted at most every 3 s, and not while `isHeld`: then no row moves. Their
 * numbers change with each answer.
 */
export function useOrder(data: Clients, isHeld: boolean): readonly ClientRow[] {
  const [order, setOrder] = useState<Order>(() => sorted(data));
  useEffect(() => {
    setOrder((before) =>
      isHeld || data.atMs - before.sortedAtMs < SORT_MS ? inPlace(before, data, isHeld) : sorted(data),
    );
  }, [data, isHeld]);
  return order.rows;
}

function sorted({ clients, atMs }: Clients): Order {
  const rows = clients.map((client) => ({ ...client, isGone: false }));
  rows.sort((a, b) => b.lag - a.lag || b.unsentBytes - a.unsentBytes || a.id - b.id);
  return { rows, sortedAtMs: atMs };
}

function inPlace({ rows, sortedAtMs }: Order, { clients }: Clients, isHeld: boolean): Order {
  const byId = new Map(clients.map((client) => [client.id, client]));
  const kept = rows.flatMap((row): ClientRow[] => {
    const client = byId.get(row.id);
    byId.delete(row.id);
    if (client) return [{ ...client, isGone: false }];
    return isHeld ? [{ ...row, isGone: true }] : [];
  });
  const added = [...byId.values()].map((client) => ({ ...client, isGone: false }));
  return { rows: [...kept, ...added], sortedAtMs };
}
