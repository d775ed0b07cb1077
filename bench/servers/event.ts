/** The event of every contender: a `stage.progress` of about 400 bytes, as stored in the log of Runwire. */
export type BenchEvent = ReturnType<typeof eventOf>;

/** The runs and stages of the lines of publishing. */
export const RUNS = 100;
export const STAGES = 97;

export const runOf = (index: number): string => `run-${index}`;

/** The message starts with the index, by which the load generator tells events apart. */
export function eventOf(index: number, runId: string) {
  return {
    type: 'stage.progress' as const,
    projectId: 'bench',
    runId,
    timestamp: '2026-01-01T00:00:00.000Z',
    eventId: `11111111-2222-4333-8444-${String(index).padStart(12, '0')}`,
    stageId: `stage-${index % 10}`,
    progress: index % 100,
    message: `#${index} ${'epoch 12 of 40: loss 0.0731, accuracy 0.981 '.repeat(3)}`,
    actor: 'bench',
    recordedAt: '2026-01-01T00:00:00.000Z',
    seq: index,
    runSeq: index,
  };
}
