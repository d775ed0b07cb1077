import { defineEvent, runwireEvents } from 'runwire/events';
import { z } from 'zod';

/** Runwire's event types, and one for each epoch of a training. Server and page infer their types from it. */
export const events = {
  ...runwireEvents,
  'epoch.finished': defineEvent({
    type: 'epoch.finished',
    category: 'training',
    topic: 'models',
    fields: { epoch: z.int().positive(), accuracy: z.number().min(0).max(1) },
  }),
};
