import { chmodSync } from 'node:fs';

/** Sets mode 0600. Some file systems have no modes: there, access to files is a matter of the mount. */
export function makePrivate(path: string): void {
  try {
    chmodSync(path, 0o600);
  } catch (error) {
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes((error as NodeJS.ErrnoException).code ?? ''))
      throw error;
  }
}
