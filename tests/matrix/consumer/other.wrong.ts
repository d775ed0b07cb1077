import { createRunwireClient } from 'runwire/client';
import { createPublisher } from 'runwire/publisher';

/** Each use is wrong: it must not compile. */

const { client } = createRunwireClient({ url: 'https://runs.example.org' });
// @ts-expect-error: a URL is a string
createRunwireClient({ url: 8080 });
// @ts-expect-error: no such procedure
client.run.fetch.query({ runId: 'run-1' });
// @ts-expect-error: a run has an id
client.run.get.query({});
// @ts-expect-error: no field of a run
client.run.get.query({ runId: 'run-1' }).then(({ run }) => run.percentage);
// @ts-expect-error: no such option
client.onRunEvent.subscribe({ runId: 'run-1', form: 'start' }, {});
const publisher = createPublisher({ url: 'https://runs.example.org', token: 't', projectId: 'trials' });
// @ts-expect-error: a draft has its fields
publisher.publish({ type: 'stage.failed', runId: 'run-1', stageId: 's1' });
// @ts-expect-error: no such type of event
publisher.publish({ type: 'stage.finished', runId: 'run-1', stageId: 's1' });
