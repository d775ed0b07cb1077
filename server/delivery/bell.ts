import type { LogRecord, Scope } from '../event-log/log.ts';

/**
 * Wakes the readers that an event concerns, and no others: waiters are found by what they wait for. A ring says only
 * "from this position on"; what happened is read from the log.
 */

/** Why a reader woke: the position of the first event that concerns it, or something other than an event. */
export type Wake = { seq: number } | 'tick' | 'poke';

export const bellKey = {
  of(scope: Scope): string {
    switch (scope.kind) {
      case 'all':
        return 'all';
      case 'project':
        return `project ${scope.projectId}`;
      case 'run':
        return `run ${scope.projectId} ${scope.runId}`;
      case 'user':
        return `user ${scope.userId}`;
    }
  },
  /** For a reader that does not know its run's project yet. */
  runId: (runId: string) => `id ${runId}`,
};

export class Waiter {
  readonly woken: Promise<Wake>;
  readonly key: string;
  /** Position that its client knows of. */
  readonly toldSeq: number;
  /** When it wants to hear that the head moved on without it, on the clock of `performance.now()`. */
  readonly tickAt: number;
  wake!: (wake: Wake) => void;

  constructor(key: string, toldSeq: number, tickAt: number) {
    this.key = key;
    this.toldSeq = toldSeq;
    this.tickAt = tickAt;
    this.woken = new Promise((resolve) => {
      this.wake = resolve;
    });
  }
}

export class Bell {
  readonly #waiters = new Map<string, Set<Waiter>>();
  #isClosed = false;

  /** Nothing will ring any more. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  get waiting(): number {
    let count = 0;
    for (const waiters of this.#waiters.values()) count += waiters.size;
    return count;
  }

  add(waiter: Waiter): void {
    const waiters = this.#waiters.get(waiter.key);
    if (waiters) waiters.add(waiter);
    else this.#waiters.set(waiter.key, new Set([waiter]));
  }

  /** Wakes one waiter, if it still waits. */
  wake(waiter: Waiter, wake: Wake): void {
    const waiters = this.#waiters.get(waiter.key);
    if (!waiters?.delete(waiter)) return;
    if (waiters.size === 0) this.#waiters.delete(waiter.key);
    waiter.wake(wake);
  }

  /** Wakes everyone whom one of these records concerns. */
  ring(records: readonly LogRecord[]): void {
    for (const { seq, projectId, runId, users } of records) {
      if (this.#waiters.size === 0) return;
      this.#ringKey('all', seq);
      this.#ringKey(bellKey.of({ kind: 'project', projectId }), seq);
      this.#ringKey(bellKey.of({ kind: 'run', projectId, runId }), seq);
      this.#ringKey(bellKey.runId(runId), seq);
      for (const userId of users ?? []) this.#ringKey(bellKey.of({ kind: 'user', userId }), seq);
    }
  }

  /** Wakes everyone for the last time. */
  close(): void {
    this.#isClosed = true;
    for (const waiters of [...this.#waiters.values()]) {
      for (const waiter of [...waiters]) this.wake(waiter, 'poke');
    }
  }

  /** Wakes those whose client does not know of the head, once it is time for a sign of life. */
  tick(head: number): void {
    const now = performance.now();
    for (const waiters of [...this.#waiters.values()]) {
      for (const waiter of [...waiters]) {
        if (waiter.toldSeq < head && waiter.tickAt <= now) this.wake(waiter, 'tick');
      }
    }
  }

  #ringKey(key: string, seq: number): void {
    const waiters = this.#waiters.get(key);
    if (!waiters) return;
    this.#waiters.delete(key);
    for (const waiter of waiters) waiter.wake({ seq });
  }
}
