import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'node',
          include: ['{shared,server,client,tests}/**/*.test.ts'],
          exclude: ['**/*.browser.test.*', '**/node_modules/**'],
          testTimeout: 20_000,
          typecheck: { enabled: true, include: ['**/*.test-d.ts', '**/*.test-d.tsx'], tsconfig: './tsconfig.json' },
        },
      },
    ],
  },
});
