import type { RunView } from '../../hooks/index.ts';
import { useIsPast } from '../components/Past.tsx';
import { showToast } from '../components/Toast.tsx';
import { refusedText, useFollowed, usePermission } from './settings.ts';

/** The bell of a run: a notification when the run ends. */
export function TellMe({ run }: { run: Pick<RunView, 'projectId' | 'runId' | 'endedAt'> }) {
  const { permission, ask } = usePermission();
  const { has, set } = useFollowed();
  const isPast = useIsPast();
  if (run.endedAt !== undefined || permission === 'unsupported') return null;
  const key = { projectId: run.projectId, runId: run.runId };
  const isOn = permission === 'granted' && has(key);
  const toggle = async () => {
    if ((await ask()) === 'granted') set(key, !isOn);
    else showToast(refusedText());
  };
  return (
    <button
      type="button"
      className="tell-me"
      aria-pressed={isOn}
      aria-disabled={isPast}
      title={isPast ? 'Not in the past. Return to live.' : 'Tell me when this run ends'}
      onClick={() => isPast || void toggle()}
    >
      <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">
        <path
          d="M8 1.5a4 4 0 0 0-4 4v3L2.5 11.5h11L12 8.5v-3a4 4 0 0 0-4-4zM6.5 13a1.5 1.5 0 0 0 3 0"
          fill={isOn ? 'currentColor' : 'none'}
          stroke="currentColor"
          strokeWidth="1.3"
          strokeLinejoin="round"
        />
      </svg>
      <span className="unseen">Tell me when this run ends</span>
    </button>
  );
}
