/** Actions of the frame that a key, a menu or a page starts. */
export type Command = 'help' | 'notifications';
export const COMMANDED = 'runwire:command';

/** Opens a dialog of the frame. */
export const command = (name: Command): void => {
  window.dispatchEvent(new CustomEvent(COMMANDED, { detail: name }));
};
