import { createPublisher } from 'runwire/publisher';

export const open = (url: string, token: string) => createPublisher({ url, token, projectId: 'trials' });

export async function publish(publisher: ReturnType<typeof open>, from: number, count: number): Promise<number> {
  const { accepted, seq } = await publisher.publish(
    Array.from({ length: count }, (_, index) => ({
      type: 'stage.progress' as const,
      runId: 'run-1',
      stageId: 's1',
      done: from + index,
    })),
  );
  return accepted === count ? seq : -1;
}
