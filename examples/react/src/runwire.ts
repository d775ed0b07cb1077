import { createRunwireHooks } from 'runwire/hooks';
import { events } from '../events.ts';

/** The provider and the hooks, which know the event types of this app. */
export const { RunwireProvider, useApprovals, useConnection, useRun, useRunEvents, useRuns } =
  createRunwireHooks(events);
