import { appBundle, bundleOf, pages } from '../tests/support/bundle.ts';

/**
 * Prints the sizes of bundles of small apps: minified by Vite, gzipped, in KiB. The whole is of one file; the packages are files of
 * their own, so their sum is a little more.
 */

const packages = ['react', '@tanstack', '@trpc', 'runwire', 'zod'];
const kib = (bytes: number) => (bytes / 1024).toFixed(1);

console.log(`| app | ${packages.join(' | ')} | whole |`);
console.log(`|---|${'---:|'.repeat(packages.length + 1)}`);
for (const [name, app] of Object.entries(pages)) {
  const { packageBytes, wholeBytes } = await bundleOf(app);
  const cells = packages.map((each) => (packageBytes.has(each) ? kib(packageBytes.get(each) ?? 0) : '–'));
  console.log(`| ${name} | ${cells.join(' | ')} | ${kib(wholeBytes)} |`);
}

const { firstBytes, allBytes } = await appBundle();
console.log(`\nWeb app: ${kib(firstBytes)} for the first page (at most 117.2), ${kib(allBytes)} with all other pages.`);
