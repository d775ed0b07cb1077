import { RunwireError } from './errors.ts';

/** Throws `INVALID_INPUT` for a name that no event type can have. */
export function checkType(type: string): void {
  if (!/^[^\p{Cc}]{1,200}$/u.test(type) || type === '__proto__') {
    refuse('type', 'must have 1 to 200 characters and no control characters');
  }
  if (type.startsWith('stream.')) refuse(type, 'the signals of subscriptions have the types that begin with "stream."');
}

/** Throws `INVALID_INPUT` for a part of an event type's definition. */
export function refuse(path: string, message: string): never {
  throw new RunwireError('INVALID_INPUT', `${path}: ${message}`, { path });
}
