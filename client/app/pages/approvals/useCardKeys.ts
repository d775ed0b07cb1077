import { type RefObject, useCallback, useEffect, useState } from 'react';
import type { DecisionInput } from '../../../hooks/index.ts';
import { type Keys, useKeys } from '../../hooks/useKeys.tsx';

/** A key was pressed for a dialog. The card opens it once the page is up to date. */
export type Intent = {
  decision: DecisionInput['decision'];
  /** The card that had the focus; undefined if none had. */
  approvalId: string | undefined;
};

/** Time for which a press waits for its card. */
const MAX_WAIT_MS = 3_000;

/**
 * Keys of the card that has the focus, else of the first open card in the box. No key decides: `a` and `d` open a dialog.
 */
export function useCardKeys(box: RefObject<HTMLElement | null>, isEnabled: boolean) {
  const [intent, setIntent] = useState<Intent>();
  useEffect(() => {
    if (!intent) return;
    const timer = setTimeout(() => setIntent(undefined), MAX_WAIT_MS);
    return () => clearTimeout(timer);
  }, [intent]);
  const want = (decision: DecisionInput['decision']) => () =>
    setIntent({ decision, approvalId: focusedCard()?.dataset.approval });
  const follow = (act: 'evidence' | 'run') => () => {
    const card = focusedCard() ?? box.current?.querySelector('.approval-card.open') ?? box.current;
    card?.querySelector<HTMLElement>(`[data-act="${act}"]`)?.click();
  };
  const keys: Keys = {
    a: { does: 'Approve…', act: want('granted') },
    d: { does: 'Deny…', act: want('denied') },
    o: { does: 'Open the first evidence', act: follow('evidence') },
    v: { does: 'Open the run', act: follow('run') },
  };
  useKeys(isEnabled ? keys : {});
  return { intent, onIntentDone: useCallback(() => setIntent(undefined), []) };
}

const focusedCard = () => document.activeElement?.closest<HTMLElement>('[data-approval]');
