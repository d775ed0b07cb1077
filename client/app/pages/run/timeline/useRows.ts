import { useMemo, useState } from 'react';
import type { RunView } from '../../../../hooks/index.ts';
import { useParams } from '../../../lib/navigation.tsx';
import { NameList } from './names.ts';
import { listStages, orders, rowsOf, shows } from './rows.ts';

/** A run with fewer stages has no groups and no map of its axis. */
export const MANY_STAGES = 60;

/** The rows of the timeline, by the filters in the address. */
export function useRows(run: RunView) {
  const params = useParams();
  const [names] = useState(() => new NameList());
  const [toggled, setToggled] = useState<ReadonlySet<string>>(new Set());
  const show = shows.find((one) => one === params.get('show')) ?? 'all';
  const order = orders.find((one) => one === params.get('order')) ?? 'plan';
  const text = params.get('stages') ?? '';
  const canGroup = run.stages.length >= MANY_STAGES;
  const isGrouped = canGroup && params.get('group') === '1';
  const prefix = names.prefixOf(run.stages);
  const listed = useMemo(() => listStages(run, { show, text, order }), [run, show, text, order]);
  const rows = useMemo(
    () => rowsOf(run, listed.stages, isGrouped ? { prefix, toggled } : undefined),
    [run, listed, isGrouped, prefix, toggled],
  );
  const indexOf = useMemo(() => {
    let indexes: Map<string, number> | undefined;
    return (key: string) => {
      indexes ??= new Map(rows.map((row, index) => [row.key, index]));
      return indexes.get(key) ?? -1;
    };
  }, [rows]);
  const toggleGroup = (name: string) => {
    const next = new Set(toggled);
    if (!next.delete(name)) next.add(name);
    setToggled(next);
  };
  return {
    rows,
    indexOf,
    toggleGroup,
    ...{ listed, names, prefix, show, order, text },
    isGrouped: canGroup ? isGrouped : undefined,
  };
}

/** Selected stage and attempt, from the address. */
export function useSelected(): { stageId: string | null; attempt: number | undefined } {
  const params = useParams();
  const attempt = Number(params.get('attempt'));
  return { stageId: params.get('stage'), attempt: attempt >= 1 ? attempt : undefined };
}
