import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { RunView } from '../../shared/run.ts';
import { counted, lineageServer, looks, type Message, shuffled } from './openlineage.ts';

const folder = new URL('../../../shared/devset/', import.meta.url);

const hasDevset = existsSync(folder);

const read = (path: string) => JSON.parse(readFileSync(new URL(path, folder), 'utf8'));

describe.skipIf(!hasDevset)('devset sequences of real producers', () => {
  const proposals = hasDevset ? (read('expected_proposed.json') as Record<string, { proposed_counts: object }>) : {};
  const files = Object.keys(proposals).filter((name) => name.startsWith('openlineage/'));
  const names = hasDevset ? files : ['(which are not here)'];

  // Only stage.started carries a name. Spark completed one stage without a start, so its COMPLETE publishes a
  // stage.started first. See docs/decisions/005-openlineage-mapping.md.
  const differences: Record<string, object> = { 'openlineage/spark_hive_cll.sequence.json': { 'stage.started': 3 } };

  test.each(names)('[P1] devset %s gives the expected counts', async (name) => {
    await using server = await lineageServer();
    await server.sendAll(read(name));
    const proposed = { ...(proposals[name]?.proposed_counts as Record<string, number>) };
    delete proposed._terminal_without_start;
    expect(counted(await server.records())).toEqual({ ...proposed, ...differences[name] });
    const views = await server.views();
    const sum = (of: (view: RunView) => number) => views.reduce((total, view) => total + of(view), 0);
    expect({
      runs: views.length,
      ended: views.filter(({ status }) => status === 'completed' || status === 'failed').length,
      completed: views.filter(({ status }) => status === 'completed').length,
      stages: sum(({ counts }) => counts.stages),
      stagesCompleted: sum(({ counts }) => counts.stagesCompleted),
      stagesFailed: sum(({ counts }) => counts.stagesFailed),
      artifacts: sum(({ counts }) => counts.artifacts),
    }).toEqual({
      runs: proposed['run.created'],
      ended: proposed['run.created'],
      completed: proposed['run.completed'] ?? 0,
      stages: (proposed['stage.completed'] ?? 0) + (proposed['stage.failed'] ?? 0),
      stagesCompleted: proposed['stage.completed'] ?? 0,
      stagesFailed: proposed['stage.failed'] ?? 0,
      artifacts: proposed['artifact.created'] ?? 0,
    });
    const uuid = /^[0-9a-f]{8}-/;
    expect(views.flatMap((view) => [view, ...view.stages]).filter(({ name }) => uuid.test(name))).toEqual([]);
  });

  test.each(names)(
    '[P2] devset %s gives the same runs in any order, and with six copies of each event',
    async (name) => {
      await using server = await lineageServer();
      const messages = read(name) as Message[];
      await server.sendAll(messages, { projects: ['in-order'] });
      const expected = looks(await server.views('in-order'));
      expect(expected.length).toBeGreaterThan(0);

      for (let seed = 1; seed <= 20; seed++) {
        const projects = [`seed-${seed}`];
        await server.sendAll(shuffled(messages, seed), { projects });
        expect(looks(await server.views(projects[0])), `seed ${seed}`).toEqual(expected);
      }
      const six = messages.flatMap((message) => Array.from({ length: 6 }, () => message));
      await server.sendAll(six, { projects: ['six'] });
      expect(looks(await server.views('six'))).toEqual(expected);
      expect(counted(await server.records('six'))).toEqual(counted(await server.records('in-order')));
      await server.sendAll(shuffled(six, 99), { projects: ['six-shuffled'] });
      expect(looks(await server.views('six-shuffled'))).toEqual(expected);
      const batch = await server.send(messages, { path: '/api/v1/lineage/batch', projects: ['batch'] });
      expect(batch.status).toBe(204);
      expect(looks(await server.views('batch'))).toEqual(expected);
    },
  );
});
