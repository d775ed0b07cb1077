import { type Registered, useRegisteredKeys } from '../hooks/useKeys.tsx';
import { useSetting } from '../hooks/useSetting.ts';
import { Dialog } from './Dialog.tsx';

const names: { readonly [key: string]: string } = {
  Escape: 'Esc',
  ArrowUp: '↑',
  ArrowDown: '↓',
  ArrowLeft: '←',
  ArrowRight: '→',
  '-': '−',
};
/** Keys of every list and of the navigation, which no component registers. */
const inLists = [
  { does: 'Open', keys: ['Enter'] },
  { does: 'Links and buttons of a row; links of the navigation', keys: ['ArrowLeft', 'ArrowRight'] },
  { does: 'First, last row', keys: ['Home', 'End'] },
];

/** The keys that work now: those of the page as it is, and those that work everywhere. */
export function Help({ onClose }: { onClose: () => void }) {
  const registered = useRegisteredKeys();
  const [shortcuts, setShortcuts] = useSetting('shortcuts');
  const here = linesOf(registered.filter(({ scope }) => scope === 'page'));
  const everywhere = [...linesOf(registered.filter(({ scope }) => scope === 'everywhere')), ...inLists];
  return (
    <Dialog open onOpenChange={(open) => open || onClose()} title="Keyboard shortcuts">
      {shortcuts === 'off' && (
        <p>
          Single-key shortcuts are off.{' '}
          <button type="button" onClick={() => setShortcuts('on')}>
            Turn on
          </button>
        </p>
      )}
      {here.length > 0 && <Group title="This page" lines={here} />}
      <Group title="Everywhere" lines={everywhere} />
      <div className="dialog-buttons">
        <button type="button" data-autofocus="" onClick={onClose}>
          Close
        </button>
      </div>
    </Dialog>
  );
}

type Line = { does: string; keys: readonly string[] };

/** Keys with the same words are one line. */
function linesOf(registered: readonly Registered[]): Line[] {
  const lines = new Map<string, Set<string>>();
  for (const { keys } of registered) {
    for (const [key, { does }] of Object.entries(keys)) {
      if (does) lines.set(does, (lines.get(does) ?? new Set()).add(key));
    }
  }
  return [...lines].map(([does, keys]) => ({ does, keys: [...keys] }));
}

const Group = ({ title, lines }: { title: string; lines: readonly Line[] }) => (
  <section>
    <h3>{title}</h3>
    <dl className="keys">
      {lines.map(({ does, keys }) => (
        <div key={does}>
          <dt>
            {keys.map((key) => (
              <span key={key}>
                {key.split(' ').map((one) => (
                  <kbd key={one}>{names[one] ?? one}</kbd>
                ))}
              </span>
            ))}
          </dt>
          <dd>{does}</dd>
        </div>
      ))}
    </dl>
  </section>
);
