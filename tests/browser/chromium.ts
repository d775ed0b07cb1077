import { existsSync } from 'node:fs';

/** How tests launch the Chromium of the system. */
export const chromium = {
  executablePath: '/usr/bin/chromium',
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
};

/** Where it is not installed, tests that need it are left out, and one says so by its name. */
export const hasChromium = existsSync(chromium.executablePath);
