/**
 * For producers that make drafts of what others say. Some things the guard refuses whatever the policy: records, and ids
 * that give someone away. A run whose end is refused would stay open for ever, so its end is told without them.
 */

/** In place of a name. */
const WITHHELD = '(withheld)';
/** A draft can do without them. */
const OPTIONAL = new Set(['labels', 'stages', 'uri', 'kind', 'summary', 'audience', 'createdBy']);

/**
 * A draft without what the guard refused at `path`: undefined where nothing is left to tell. `outcome` is what may be
 * said of a failure, as `exit code 1`.
 */
export function withhold<D extends { type: string }>(draft: D, path: string, outcome = 'failed'): D | undefined {
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
