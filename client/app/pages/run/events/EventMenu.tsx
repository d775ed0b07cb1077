import type { RunView } from '../../../../hooks/index.ts';
import { Menu, MenuItem, MenuLink } from '../../../components/Menu.tsx';
import { showToast } from '../../../components/Toast.tsx';
import { formatCount } from '../../../lib/format.ts';
import type { ListedFilter } from './event-filter.ts';
import { exportUrl, fileNameOf, saveFile } from './export-url.ts';

/** Downloads and copies the events that the list shows. */
export function EventMenu({ run, filter }: { run: RunView; filter: ListedFilter }) {
  const events = async (): Promise<unknown[]> => {
    const answer = await fetch(exportUrl(run, 'ndjson', filter));
    if (!answer.ok) throw new Error(`The server answered ${answer.status}`);
    return (await answer.text())
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line));
  };
  const attempt = (what: string, work: () => Promise<void>) => {
    work().catch(() => showToast(`Could not ${what} the events`));
  };
  const json = async () =>
    saveFile(`${fileNameOf(run)}.json`, 'application/json', JSON.stringify(await events(), null, 2));
  const copy = async () => {
    const all = await events();
    await navigator.clipboard.writeText(all.map((event) => JSON.stringify(event)).join('\n'));
    showToast(`${formatCount(all.length)} events copied`);
  };
  return (
    <Menu
      label="Events shown"
      trigger={
        <button type="button" className="chip" aria-label="Download or copy what is shown" title="What is shown">
          ⋯
        </button>
      }
    >
      <MenuLink>
        <a href={exportUrl(run, 'ndjson', filter)} download>
          Download NDJSON
        </a>
      </MenuLink>
      <MenuLink>
        <a href={exportUrl(run, 'csv', filter)} download>
          Download CSV
        </a>
      </MenuLink>
      <MenuItem onSelect={() => attempt('download', json)}>Download JSON</MenuItem>
      <MenuItem onSelect={() => attempt('copy', copy)}>Copy as NDJSON</MenuItem>
    </Menu>
  );
}
