import { useRunwire } from '../../../hooks/index.ts';
import { listOf, useStored } from '../../lib/storage.ts';
import { FILTER_PARAMS } from './filters.ts';

/** Named filters of the list, kept in this browser for each user. */

export type SavedView = { name: string /** Query parameters of the filter, as in an address. */; search: string };

const isView = (value: unknown): value is SavedView =>
  typeof value === 'object' &&
  value !== null &&
  ['name', 'search'].every((key) => typeof (value as never)[key] === 'string');

export function useViews(): { key: string; views: readonly SavedView[] } {
  const key = `runwire:views:${useRunwire().keyPrefix}`;
  return { key, views: listOf(useStored(key), isView) };
}

/** Returns the part of an address that is the filter. */
export function filterSearch(params: URLSearchParams): string {
  const kept = [...params].filter(([name]) => (FILTER_PARAMS as readonly string[]).includes(name));
  return new URLSearchParams(kept).toString();
}

/** The address of a view: its filter and its name. */
export function hrefOf({ name, search }: SavedView): string {
  const params = new URLSearchParams(search);
  params.set('view', name);
  return `/?${params}`;
}
