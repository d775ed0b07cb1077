import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

/** The web app. In development, vite serves it and proxies API and socket requests to the server. */
const server = 'http://127.0.0.1:3001';

const pathOf = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));

const { version } = JSON.parse(readFileSync(pathOf('./package.json'), 'utf8')) as { version: string };

export default defineConfig({
  define: { 'import.meta.env.APP_VERSION': JSON.stringify(version) },
  root: pathOf('./client/app'),
  envDir: pathOf('.'),
  base: '/',
  plugins: [react()],
  // Every browser that knows the app's style sheets (`light-dark`) preloads modules by itself.
  build: {
    outDir: pathOf('./dist/app'),
    emptyOutDir: true,
    modulePreload: { polyfill: false },
    // One file with all that the first page needs: divided among files, it would be 3 KB larger (gzip).
    rolldownOptions: { output: { codeSplitting: { groups: [{ name: 'first', test: /app.main\.tsx/ }] } } },
  },
  server: {
    proxy: { '/trpc': server, '/api': server, '/login': server, '/ws': { target: server, ws: true } },
  },
});
