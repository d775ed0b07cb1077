import { createPublisher } from '../../client/publisher/browser.ts';
import type { PublisherDraft } from '../../client/publisher/index.ts';

/** A page that publishes, for tests. The address has the token, and what the page does. */

const query = new URLSearchParams(location.search);
const name = query.get('name') ?? '';
const publisher = createPublisher({ url: location.origin, token: query.get('token') ?? '', projectId: 'demo' });
const draftOf = (message: string): PublisherDraft => ({ type: 'stage.progress', runId: 'r1', stageId: 's1', message });

const ways: Record<string, () => Promise<unknown>> = {
  /** Publishes at the end of the page: in its events, and just before. */
  async atTheEnd() {
    await publisher.publish(draftOf(`${name}-first`));
    addEventListener('pagehide', () => void publisher.publish(draftOf(`${name}-pagehide`)));
    document.addEventListener('visibilitychange', () => void publisher.publish(draftOf(`${name}-hidden`)));
    addEventListener('leave', () => void publisher.publish(draftOf(`${name}-before`)));
  },
  /** Publishes more than a request may carry that outlives its page, and the end of the run. */
  async tooMuch() {
    for (let at = 0; at < 200; at++) void publisher.publish(draftOf(`${at} ${'x'.repeat(1_000)}`));
    for (let at = 0; at < 20; at++) void publisher.publish(draftOf('small'));
    void publisher.publish({ type: 'run.completed', runId: 'r1' });
  },
  /** Has no Node.js. */
  async spill() {
    try {
      createPublisher({ url: location.origin, token: '', spillPath: 'spill' });
    } catch (error) {
      document.title = String((error as Error).message);
    }
  },
};

void ways[query.get('way') ?? '']?.().then(() => document.body.append('ready'));
