import { RunwireError } from '../../shared/errors.ts';

/**
 * Publishing for producers that build drafts from other systems' messages. Even under `redact`, the guard refuses some
 * drafts: those with whole medical records or with ids that identify a person. A run with a refused end would stay open,
 * so its end is published without the refused fields.
 */

/** Stands in for a name or an id that the guard refuses. */
export const WITHHELD = '(withheld)';
/** A draft is valid without these fields. */
const OPTIONAL = new Set(['labels', 'stages', 'uri', 'kind', 'summary', 'audience', 'createdBy']);

/**
 * Publishes drafts. When the guard refuses some of them, removes the refused fields, drops each draft that needs its
 * refused field, and publishes the rest, until the guard accepts. Rejects with the last refusal when no draft is left,
 * and with any other error of `publish`. `outcome` is a safe description of a failure, such as `exit code 1`.
 */
export async function publishWithholding<D extends { type: string }, R>(
  drafts: readonly D[],
  publish: (drafts: readonly D[]) => Promise<R>,
  outcome?: string,
): Promise<R> {
  for (let left = drafts; ; ) {
    try {
      return await publish(left);
    } catch (error) {
      if (!(error instanceof RunwireError) || error.code !== 'PHI_REJECTED') throw error;
      const paths = new Map(error.issues.map(({ index, path }) => [index, path]));
      left = left.flatMap((draft, index) => {
        const path = paths.get(index);
        return path === undefined ? [draft] : (withhold(draft, path, outcome) ?? []);
      });
      if (left.length === 0) throw error;
    }
  }
}

/** The draft without the field that was refused at `path`; undefined where the draft needs that field. */
function withhold<D extends { type: string }>(draft: D, path: string, outcome = 'failed'): D | undefined {
  const [field = ''] = path.split('.');
  if (!(field in draft)) return undefined;
  if (field === 'error') {
    const { error } = draft as { error?: { message?: string } };
    const message = `${outcome} (its output was withheld: it looks like a medical record)`;
    return error?.message === message ? undefined : { ...draft, error: { ...error, message } };
  }
  if (field === 'name' && draft[field as never] !== WITHHELD) return { ...draft, name: WITHHELD };
  const isOptional =
    OPTIONAL.has(field) || (field === 'stageId' && (draft.type === 'run.failed' || draft.type === 'artifact.created'));
  if (!isOptional) return undefined;
  const { [field as never]: _, ...rest } = draft;
  return rest as D;
}
