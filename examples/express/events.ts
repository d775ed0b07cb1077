import { defineEvent, runwireEvents } from 'runwire/events';
import { z } from 'zod';

/** The event types of this app: Runwire's own, and one for each rendered page of an export. */
export const events = {
  ...runwireEvents,
  'page.rendered': defineEvent({
    type: 'page.rendered',
    category: 'export',
    topic: 'documents',
    fields: { page: z.int().positive(), words: z.int().nonnegative() },
  }),
};
