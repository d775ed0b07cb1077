/** What work takes. */

export type Cost = { cpuMicros: number; seconds: number };

/** CPU time of this process so far, user and system. */
export function cpuMicros(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** `seconds`: of `work`. `cpuMicros`: also of `after`, the work that `work` has put off. */
export async function costOf(work: () => unknown, after?: () => unknown): Promise<Cost> {
  const [begun, cpuBefore] = [performance.now(), cpuMicros()];
  await work();
  const seconds = (performance.now() - begun) / 1_000;
  await after?.();
  return { cpuMicros: cpuMicros() - cpuBefore, seconds };
}
