import { existsSync } from 'node:fs';

/** Launch options for the Chromium of the system. */
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

/** Without Chromium its tests are skipped; chromium.test.ts reports that by its title. */
export const hasChromium = existsSync(chromium.executablePath);
