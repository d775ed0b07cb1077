import { type PointerEvent, useState } from 'react';

type Shown = { text: string; x: number; y: number };

/** The text of the bar under the pointer. Screen readers get it from the panel of the stage. */
export function useTip() {
  const [shown, setShown] = useState<Shown | null>(null);
  const onPointerOver = ({ target, clientX }: PointerEvent) => {
    const bar = target instanceof Element ? target.closest<HTMLElement>('[data-tip]') : null;
    if (!bar) return setShown(null);
    const { bottom } = bar.getBoundingClientRect();
    setShown({ text: bar.dataset.tip ?? '', x: clientX, y: bottom });
  };
  const onPointerLeave = () => setShown(null);
  const tip = shown && (
    <div
      className="bar-tip"
      aria-hidden="true"
      style={{ left: Math.min(shown.x, window.innerWidth - 340), top: shown.y + 6 }}
    >
      {shown.text}
    </div>
  );
  return { tip, tipProps: { onPointerOver, onPointerLeave } };
}
