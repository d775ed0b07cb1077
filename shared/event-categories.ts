const run = { category: 'run' } as const;
const stage = { category: 'stage' } as const;
const governance = { category: 'governance' } as const;

/** The category of each of the twelve event types. A page that shows no run loads these and not the fold. */
export const runwireCategories = {
  'run.created': run,
  'run.started': run,
  'run.completed': run,
  'run.failed': run,
  'stage.started': stage,
  'stage.progress': stage,
  'stage.completed': stage,
  'stage.failed': stage,
  'artifact.created': { category: 'artifact' },
  'governance.required': governance,
  'approval.granted': governance,
  'approval.denied': governance,
} as const;
