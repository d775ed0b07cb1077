import { defineEvent, field, runwireEvents } from 'runwire/events';
import { createRunServer, type RouterOf, signToken } from 'runwire/server';
import { z } from 'zod';

/** A server of the application: it has an event type of its own, with the zod of the application. */

const authSecret = 'a secret of the application, of 32 bytes';

export const events = {
  ...runwireEvents,
  'metric.sampled': defineEvent({
    type: 'metric.sampled',
    category: 'metric',
    topic: 'jobs',
    fields: { name: field.name(), value: z.number() },
  }),
};

export type AppRouter = RouterOf<typeof events>;

export async function startServer(databaseUrl: string) {
  const runs = await createRunServer({ databaseUrl, authSecret, port: 0, events });
  const { url } = await runs.listen();
  const claims = { sub: 'ada', projects: ['*'], ttlSeconds: 600 };
  const token = await signToken({ secret: authSecret }, { ...claims, roles: ['viewer', 'producer'] });
  return { runs, url, token };
}
