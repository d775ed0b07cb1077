import type { UseSearchOptions } from '../../../hooks/index.ts';
import { Popover } from '../../components/Popover.tsx';
import { Trigger } from '../../components/Trigger.tsx';
import { formatCount } from '../../lib/format.ts';

const MAX_EXPORTED = 100_000;

function hrefOf({ text, types, projectId, actor, runId, since, until }: UseSearchOptions, format: string): string {
  const params = new URLSearchParams({ format, limit: String(MAX_EXPORTED) });
  const values = { text, types: types?.join(','), runId, since, until };
  for (const [name, value] of Object.entries(values)) if (value) params.set(name, value);
  for (const value of [projectId ?? []].flat()) params.append('projectId', value);
  for (const value of [actor ?? []].flat()) params.append('actor', value);
  return `/api/v1/export?${params}`;
}

/** Downloads the events found. */
export const ExportFound = ({ options }: { options: UseSearchOptions }) => (
  <Popover label="Export" align="end" trigger={<Trigger>Export</Trigger>}>
    {(close) => (
      <div className="choices">
        {(['ndjson', 'csv'] as const).map((format) => (
          <a key={format} href={hrefOf(options, format)} download={`events.${format}`} onClick={close}>
            {format === 'csv' ? 'CSV' : 'NDJSON'}
          </a>
        ))}
        <p className="soft">What is found, newest first: the first {formatCount(MAX_EXPORTED)} events at most.</p>
      </div>
    )}
  </Popover>
);
