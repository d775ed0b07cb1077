import { foldDecision, foldRequest } from './approval-fold.ts';
import { objectOf } from './errors.ts';
import { runwireCategories } from './event-categories.ts';
import { checkType, refuse } from './event-names.ts';
import type { Envelope } from './fold-registers.ts';
import type { EventOf, Registry } from './registry.ts';
import type { RunRows } from './run.ts';
import {
  beginFold,
  type Fold,
  finishFold,
  foldArtifact,
  foldCreated,
  foldEnd,
  foldStage,
  foldStarted,
} from './run-fold.ts';

/**
 * The category and the fold of each event type, without schemas: a client that only receives events needs no zod.
 * `events.ts` builds the registry of the twelve types over this table. A registry is such a table too.
 */

export type EventTable = { readonly [type: string]: { readonly category: string; readonly fold?: Fold | undefined } };
/** The table of the types of a registry. */
export type TableOf<R extends Registry> = {
  readonly [T in keyof R]: { readonly category: R[T]['category']; readonly fold?: Fold | undefined };
};

const categories = runwireCategories;
const stage = { ...categories['stage.started'], fold: foldStage } as const;

/** The twelve event types of Runwire. */
export const runwireTable = {
  'run.created': { ...categories['run.created'], fold: foldCreated },
  'run.started': { ...categories['run.started'], fold: foldStarted },
  'run.completed': { ...categories['run.completed'], fold: foldEnd },
  'run.failed': { ...categories['run.failed'], fold: foldEnd },
  'stage.started': stage,
  'stage.progress': stage,
  'stage.completed': stage,
  'stage.failed': stage,
  'artifact.created': { ...categories['artifact.created'], fold: foldArtifact },
  'governance.required': { ...categories['governance.required'], fold: foldRequest },
  'approval.granted': { ...categories['approval.granted'], fold: foldDecision },
  'approval.denied': { ...categories['approval.denied'], fold: foldDecision },
} as const satisfies { [Type in keyof typeof runwireCategories]: EventTable[string] };

/**
 * Returns the fold of a registry: a function that applies one logged event to the rows of its run. It accepts every
 * event. An event that was applied before changes nothing. The order of events does not change the result, except for
 * approvals: they depend on `seq`.
 */
export function foldOf<T extends EventTable>(
  table: T,
): (rows: RunRows, event: T extends Registry ? EventOf<T> : Envelope) => void {
  objectOf(table, 'table');
  return (rows, event) => {
    const envelope = objectOf(event, 'event') as Envelope;
    beginFold(objectOf(rows, 'rows'), envelope);
    table[envelope.type]?.fold?.(rows, event as never);
    finishFold(rows);
  };
}

/**
 * Throws a `RunwireError` with the code `INVALID_INPUT` and the path of an entry that no table may have: its key is not its
 * type, or it is one of the twelve types with another category or fold.
 */
export function checkTable(table: EventTable): void {
  for (const [key, entry] of Object.entries(objectOf(table, 'registry'))) {
    const { type = key } = objectOf(entry, `registry.${key}`) as { type?: string };
    if (type !== key) refuse(key, `the key must be the type of its entry, ${type}`);
    checkType(key);
    const own = (runwireTable as EventTable)[key];
    if (own && (entry.category !== own.category || entry.fold !== own.fold)) {
      refuse(key, 'is a type of Runwire: define a type of another name');
    }
  }
}
