import { defineEvent, field, runwireEvents } from 'runwire/events';
import { z } from 'zod';

const step = { topic: 'agents', category: 'tool' } as const;

/** Runwire's event types, and the two of which the agent's memory consists. */
export const events = {
  ...runwireEvents,
  'tool.called': defineEvent({
    ...step,
    type: 'tool.called',
    fields: { stageId: field.id(), tool: field.name(), args: z.record(z.string(), z.string()) },
  }),
  'tool.returned': defineEvent({
    ...step,
    type: 'tool.returned',
    fields: { stageId: field.id(), output: field.text(2_000) },
  }),
};
