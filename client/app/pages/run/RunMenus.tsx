import type { RunView } from '../../../hooks/index.ts';
import { Menu, MenuItem, MenuLink, MenuSeparator } from '../../components/Menu.tsx';
import { useIsPast } from '../../components/Past.tsx';
import { showToast } from '../../components/Toast.tsx';
import { copyText } from '../../lib/copy.ts';
import { formatDuration } from '../../lib/format.ts';
import { hrefWith, runPath } from '../../lib/navigation.tsx';
import { type ListedFilter, useEventFilter } from './events/event-filter.ts';
import { exportUrl, fileNameOf, saveFile } from './events/export-url.ts';
import { timelinePng } from './timeline-png.ts';

/** What may be taken away from the page of a run: links and files. */
export const RunMenus = ({ run }: { run: RunView }) => (
  <>
    <ShareMenu run={run} />
    <ExportMenu run={run} />
  </>
);

const addressOf = (href: string) => new URL(href, window.location.href).href;

function ShareMenu({ run }: { run: RunView }) {
  const isPast = useIsPast();
  const here = () => addressOf(hrefWith({}));
  return (
    <Menu label="Share" trigger={<button type="button">Share ▾</button>}>
      <MenuItem onSelect={() => copyText(here(), 'Link copied')}>Copy link, as seen</MenuItem>
      <MenuItem onSelect={() => copyText(addressOf(hrefWith({ at: String(run.lastRunSeq) })), 'Link copied')}>
        Copy link to this moment{isPast ? '' : ' (now)'}
      </MenuItem>
      <MenuItem onSelect={() => copyText(run.runId, 'Run id copied')}>Copy run id</MenuItem>
      <MenuItem onSelect={() => copyText(markdownOf(run), 'Copied as Markdown')}>Copy as Markdown</MenuItem>
    </Menu>
  );
}

/** `[Train risk model](…) failed after 4 min 24 s: CUDA out of memory`. */
export function markdownOf(run: RunView): string {
  const { name, status, startedAt, endedAt, durationMs, error, summary } = run;
  const tookMs = durationMs ?? (startedAt && endedAt ? Date.parse(endedAt) - Date.parse(startedAt) : undefined);
  const after = endedAt === undefined || tookMs === undefined ? '' : ` after ${formatDuration(tookMs)}`;
  const why = error?.message ?? summary;
  const word = error?.code === 'CANCELLED' ? 'cancelled' : status;
  return `[${escaped(name)}](${addressOf(runPath(run))}) ${word}${after}${why === undefined ? '' : `: ${escaped(why)}`}`;
}

/** Text of a producer must not become a link or markup where the Markdown is pasted. */
const escaped = (text: string): string => text.replace(/[\\`*_{}[\]()<>#|!~]/g, '\\$&').replace(/\s+/g, ' ');

function ExportMenu({ run }: { run: RunView }) {
  const filter = useEventFilter(run);
  const isPast = useIsPast();
  const later = isPast ? `, also after event ${run.lastRunSeq}` : '';
  return (
    <Menu label="Export" trigger={<button type="button">Export ▾</button>}>
      <Events run={run} name={`All events${later}`} />
      {filter.isActive && <Events run={run} filter={filter} name={`Events as filtered${later}`} />}
      <MenuSeparator />
      <MenuItem onSelect={() => saveFile(`${fileNameOf(run)}.json`, 'application/json', JSON.stringify(run, null, 2))}>
        Run as JSON{isPast ? `, as of event ${run.lastRunSeq}` : ''}
      </MenuItem>
      <MenuItem
        onSelect={() => {
          void timelinePng(run).then(
            (url) => saveUrl(`${fileNameOf(run)}.png`, url),
            () => showToast('Could not draw the timeline'),
          );
        }}
      >
        Timeline as PNG
      </MenuItem>
      <MenuItem onSelect={() => copyText(curlOf(run, filter), 'Command copied')}>Copy as curl command</MenuItem>
    </Menu>
  );
}

function saveUrl(name: string, url: string): void {
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
}

const curlOf = (run: RunView, filter: ListedFilter): string =>
  `curl -H "Authorization: Bearer $TOKEN" '${addressOf(exportUrl(run, 'ndjson', filter)).replaceAll("'", '%27')}'`;

const Events = ({ run, filter, name }: { run: RunView; filter?: ListedFilter; name: string }) => (
  <>
    {(['ndjson', 'csv'] as const).map((format) => (
      <MenuLink key={format}>
        <a href={exportUrl(run, format, filter)} download>
          {name} ({format === 'csv' ? 'CSV' : 'NDJSON'})
        </a>
      </MenuLink>
    ))}
  </>
);
