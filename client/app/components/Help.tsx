const ID = 'help';

const keys: readonly (readonly [keys: readonly string[], what: string])[] = [
  [['j', 'k'], 'next and previous run or stage'],
  [['Enter'], 'open it'],
  [['/'], 'search runs, from any page'],
  [['e'], 'stages: errors only, or all'],
  [['+', '−', '0'], 'stages: zoom in, out, and fit'],
  [['Esc'], 'close what is open'],
  [['g', 'r'], 'go to all runs'],
  [['?'], 'this help'],
];

export const openHelp = (): void => {
  const dialog = document.getElementById(ID);
  if (dialog instanceof HTMLDialogElement && !dialog.open) dialog.showModal();
};

/** A dialog of the browser's own: it takes the focus, keeps it, gives it back, and closes with Esc. */
export const Help = () => (
  <dialog id={ID} aria-labelledby="help-title">
    <h2 id="help-title">Keyboard</h2>
    <dl className="keys">
      {keys.map(([pressed, what]) => (
        <div key={what}>
          <dt>
            {pressed.map((key) => (
              <kbd key={key}>{key}</kbd>
            ))}
          </dt>
          <dd>{what}</dd>
        </div>
      ))}
    </dl>
    <form method="dialog">
      <button type="submit">Close</button>
    </form>
  </dialog>
);
