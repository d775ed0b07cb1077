import type { Approval, RunView, Stage } from '../../../../hooks/index.ts';
import { timesOf } from './times.ts';

/** The rows of the timeline: approvals of the whole run, groups, and stages, filtered and ordered. */

export const shows = ['all', 'running', 'failed', 'waiting', 'done', 'not-run'] as const;
export type Show = (typeof shows)[number];
export const orders = ['plan', 'start', 'duration', 'status'] as const;
export type Order = (typeof orders)[number];

export type Row =
  | { kind: 'approval'; key: string; approval: Approval }
  | { kind: 'stage'; key: string; stage: Stage; isInGroup: boolean }
  | { kind: 'group'; key: string; name: string; stages: readonly Stage[]; isOpen: boolean };

/** What a stage counts as. A running stage with a pending approval waits; one that an ended run left has failed. */
export function showOf(stage: Stage, hasEnded: boolean, waiting: ReadonlySet<string>): Exclude<Show, 'all'> {
  if (stage.status === 'completed') return 'done';
  if (stage.status === 'failed') return 'failed';
  if (hasEnded) return stage.status === 'running' ? 'failed' : 'not-run';
  if (waiting.has(stage.stageId)) return 'waiting';
  return stage.status === 'running' ? 'running' : 'not-run';
}

/** Ids of the stages with a pending approval. */
export function waitingStages(approvals: readonly Approval[]): ReadonlySet<string> {
  const ids = new Set<string>();
  for (const { status, stageId } of approvals) if (status === 'pending' && stageId !== undefined) ids.add(stageId);
  return ids;
}

export type Listed = {
  stages: readonly Stage[];
  counts: Readonly<Record<Show, number>>;
  lastRunning: Stage | undefined;
};

/** Filters and orders the stages in one pass, and counts all of them. */
export function listStages(run: RunView, { show, text, order }: { show: Show; text: string; order: Order }): Listed {
  const hasEnded = run.endedAt !== undefined;
  const waiting = hasEnded ? new Set<string>() : waitingStages(run.approvals);
  const counts: Record<Show, number> = { all: 0, running: 0, failed: 0, waiting: 0, done: 0, 'not-run': 0 };
  const wanted = text.trim().toLowerCase();
  const stages: Stage[] = [];
  for (const stage of run.stages) {
    const is = showOf(stage, hasEnded, waiting);
    counts.all++;
    counts[is]++;
    if (show !== 'all' && show !== is) continue;
    if (wanted !== '' && !stage.name.toLowerCase().includes(wanted) && !stage.stageId.toLowerCase().includes(wanted))
      continue;
    stages.push(stage);
  }
  const sorted = order === 'plan' ? stages : stages.sort(comparing(order, hasEnded, waiting));
  let last = hasEnded ? -1 : sorted.length - 1;
  while (last >= 0 && sorted[last]?.status !== 'running') last--;
  const lastRunning = sorted[last];
  return { stages: sorted, counts, lastRunning };
}

const ranks: readonly Show[] = ['failed', 'waiting', 'running', 'done', 'not-run'];

function comparing(order: Order, hasEnded: boolean, waiting: ReadonlySet<string>): (a: Stage, b: Stage) => number {
  if (order === 'status') {
    const rank = (stage: Stage) => ranks.indexOf(showOf(stage, hasEnded, waiting));
    return (a, b) => rank(a) - rank(b);
  }
  const last = Number.MAX_SAFE_INTEGER;
  if (order === 'start') return (a, b) => (timesOf(a).fromMs || last) - (timesOf(b).fromMs || last);
  const duration = (stage: Stage) => {
    const { fromMs, toMs } = timesOf(stage);
    // What has not ended is the longest: it goes on.
    return Number.isNaN(fromMs) ? -1 : toMs === undefined ? last - fromMs / 1e6 : toMs - fromMs;
  };
  return (a, b) => duration(b) - duration(a);
}

/** The part of a name before the first ` · `, `.`, `/` or `[`. */
export const groupOf = (name: string): string => /^(.+?)(?: · |[./[])/.exec(name)?.[1] ?? name;

/** More stages than this are in closed groups at first. */
const MAX_OPEN = 200;

export type Grouping = { prefix: string; toggled: ReadonlySet<string> };

export function rowsOf(run: RunView, stages: readonly Stage[], grouping: Grouping | undefined): Row[] {
  const rows: Row[] = [];
  for (const approval of run.approvals) {
    if (approval.stageId === undefined) rows.push({ kind: 'approval', key: `a ${approval.approvalId}`, approval });
  }
  const addStage = (stage: Stage, isInGroup: boolean) =>
    rows.push({ kind: 'stage', key: `s ${stage.stageId}`, stage, isInGroup });
  if (!grouping) {
    for (const stage of stages) addStage(stage, false);
    return rows;
  }
  const groups = new Map<string, Stage[]>();
  for (const stage of stages) {
    const { name } = stage;
    const rest = name.startsWith(grouping.prefix) ? name.slice(grouping.prefix.length) : name;
    const group = groupOf(rest);
    const members = groups.get(group);
    if (members) members.push(stage);
    else groups.set(group, [stage]);
  }
  for (const [name, members] of groups) {
    if (members.length === 1) {
      addStage(members[0] as Stage, false);
      continue;
    }
    const isOpen = grouping.toggled.has(name) !== stages.length <= MAX_OPEN;
    rows.push({ kind: 'group', key: `g ${name}`, name, stages: members, isOpen });
    if (isOpen) for (const stage of members) addStage(stage, true);
  }
  return rows;
}
