import { RunwireError } from '../../shared/errors.ts';

/**
 * Publishes drafts that a producer made from output of other systems. Even under the policy `redact`, the PHI guard
 * refuses some drafts: those with a whole medical record, or with an id that identifies a person. If the last event of
 * a run were refused, the run would never end, so that event is published without the refused fields.
 */

/** Replaces a name or an id that the guard refuses. */
export const WITHHELD = '(withheld)';
/** Fields that can be removed: a draft is valid without them. */
const OPTIONAL = new Set(['labels', 'stages', 'uri', 'kind', 'summary', 'audience', 'createdBy']);

/**
 * Publishes drafts. If the guard refuses some of them, removes each refused field, or the whole draft if the draft
 * needs that field, and publishes the rest, until the guard accepts. Rejects with the last refusal if no draft is left,
 * and with any other error of `publish`. `outcome` is a description of a failure without output, such as `exit code 1`:
 * `outcome` replaces a refused error message.
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

/** The draft without the field at `path`, or with a replacement in the field; undefined if a draft needs the field. */
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
