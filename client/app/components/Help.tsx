const ID = 'help';

const keys: readonly (readonly [keys: readonly string[], effect: string])[] = [
  [['j', 'k'], 'Next, previous row'],
  [['Enter'], 'Open'],
  [['/'], 'Search runs'],
  [['e'], 'Show failed stages only, or all'],
  [['+', '−', '0'], 'Zoom in, zoom out, fit'],
  [['Esc'], 'Close'],
  [['g', 'r'], 'Go to Runs'],
  [['?'], 'Keyboard shortcuts'],
];

export const openHelp = (): void => {
  const dialog = document.getElementById(ID);
  if (dialog instanceof HTMLDialogElement && !dialog.open) dialog.showModal();
};

/** A native dialog element: the browser itself moves the focus into the dialog and back, and closes the dialog on Esc. */
export const Help = () => (
  <dialog id={ID} aria-labelledby="help-title">
    <h2 id="help-title">Keyboard shortcuts</h2>
    <dl className="keys">
      {keys.map(([pressed, effect]) => (
        <div key={effect}>
          <dt>
            {pressed.map((key) => (
              <kbd key={key}>{key}</kbd>
            ))}
          </dt>
          <dd>{effect}</dd>
        </div>
      ))}
    </dl>
    <form method="dialog">
      <button type="submit">Close</button>
    </form>
  </dialog>
);
