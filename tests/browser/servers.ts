import { inject, onTestFinished } from 'vitest';
import { createRunwireClient } from '../../client/index.ts';
import type { RunEvent, RunEventDraft } from '../../shared/events.ts';
import type { Actions } from './control.ts';

/** Client of the control server, for tests in a browser. */

async function ask<Name extends keyof Actions>(
  name: Name,
  input: Parameters<Actions[Name]>[0],
): Promise<Awaited<ReturnType<Actions[Name]>>> {
  const response = await fetch(`${inject('control')}/${name}`, { method: 'POST', body: JSON.stringify(input) });
  if (!response.ok) throw new Error(await response.text());
  return response.json();
}

/** Starts a server for one test. The test controls it without the page's connection. */
export async function openServer(options: { hasOwnTypes?: boolean } = {}) {
  const { port, url, token, cookieName } = await ask('open', { origin: location.origin, ...options });
  const { client, connection } = createRunwireClient({ url, token });
  onTestFinished(async () => {
    await connection.close();
    await ask('close', { port });
  });
  return {
    url,
    token,
    cookieName,
    client,
    publish: (...events: RunEventDraft[]) => client.event.publish.mutate({ events }),
    /** All events of a run in the log. */
    history: async (runId: string): Promise<RunEvent[]> => {
      const events: RunEvent[] = [];
      let cursor: string | undefined;
      do {
        const page = await client.run.history.query({ runId, limit: 500, cursor });
        events.push(...page.events);
        cursor = page.nextCursor;
      } while (cursor !== undefined);
      return events;
    },
    tokenOf: (sub: string, more: Omit<Parameters<Actions['token']>[0], 'sub'> = {}) => ask('token', { sub, ...more }),
    cut: () => ask('cut', { port }),
    replace: () => ask('replace', { port }),
    freeze: () => ask('freeze', { port }),
    publishInside: (...events: RunEventDraft[]) => ask('publish', { port, events }),
    away: () => ask('away', { port }),
    back: () => ask('back', { port }),
    trim: () => ask('trim', { port }),
    stats: () => ask('stats', { port }),
  };
}

export type TestServer = Awaited<ReturnType<typeof openServer>>;

type Of<T extends RunEventDraft['type']> = Omit<Extract<RunEventDraft, { type: T }>, 'type' | 'projectId' | 'runId'>;

/** A draft; default project `demo`. */
export const draft = <T extends RunEventDraft['type']>(
  type: T,
  runId: string,
  fields: Of<T> & { projectId?: string },
): RunEventDraft => ({ projectId: 'demo', ...fields, type, runId }) as unknown as RunEventDraft;
export const progress = (runId: string, value: number): RunEventDraft =>
  draft('stage.progress', runId, { stageId: 's1', progress: value });
