import { useRef } from 'react';

type Props = { prefix: string; namePx: number; setNamePx: (px: number) => void };

const STEP_PX = 16;

/** The head of the column of names: the prefix that is left out, and the border that changes the width. */
export function NameHead({ prefix, namePx, setNamePx }: Props) {
  const from = useRef<{ x: number; px: number } | undefined>(undefined);
  return (
    <th scope="col" className="corner" style={{ width: namePx }}>
      {prefix === '' ? (
        'Stage'
      ) : (
        <bdi dir="auto" className="prefix" title={`Names begin with ${prefix}`}>
          {prefix}…
        </bdi>
      )}
      {/* biome-ignore lint/a11y/useSemanticElements: an `hr` takes no focus and no value. */}
      <span
        role="separator"
        className="name-border"
        tabIndex={0}
        aria-orientation="vertical"
        aria-label="Width of the names"
        aria-valuenow={namePx}
        aria-valuemin={160}
        aria-valuemax={2000}
        onKeyDown={(event) => {
          const step = event.key === 'ArrowLeft' ? -STEP_PX : event.key === 'ArrowRight' ? STEP_PX : 0;
          if (step === 0) return;
          event.preventDefault();
          event.stopPropagation();
          setNamePx(namePx + step);
        }}
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          from.current = { x: event.clientX, px: namePx };
        }}
        onPointerMove={(event) => {
          if (from.current) setNamePx(from.current.px + event.clientX - from.current.x);
        }}
        onPointerUp={() => {
          from.current = undefined;
        }}
      />
    </th>
  );
}
