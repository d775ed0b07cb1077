import { signal } from './signal.ts';

/** Actions of the frame that a key, a menu or a page starts: each opens a dialog. */
export type Command = 'help' | 'notifications';
export const commands = signal<Command>();
