import { z } from 'zod';
import { runwireEvents } from '../../shared/events.ts';
import * as field from '../../shared/fields.ts';
import { defineEvent } from '../../shared/registry.ts';

/** A registry with an event type of an application. The run's summary shows the latest sample. */
export const ownEvents = {
  ...runwireEvents,
  'metric.sampled': defineEvent({
    type: 'metric.sampled',
    category: 'metric',
    topic: 'metrics',
    fields: { metricId: field.id(), unit: field.text(20).optional(), value: z.number() },
    fold: (rows, { metricId, value, unit = '' }) => {
      const header = rows.ownHeader();
      if (header) header.summary = `${metricId}: ${value}${unit}`;
    },
  }),
};
