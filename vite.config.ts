import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

/** The web app. In development it is served by vite, which hands what is the server's to the server. */
const server = 'http://127.0.0.1:3001';

export default defineConfig({
  root: new URL('./client/app', import.meta.url).pathname,
  envDir: new URL('.', import.meta.url).pathname,
  base: '/',
  plugins: [react()],
  build: { outDir: new URL('./dist/app', import.meta.url).pathname, emptyOutDir: true },
  server: {
    proxy: { '/trpc': server, '/login': server, '/ws': { target: server, ws: true } },
  },
});
