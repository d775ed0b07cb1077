import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

const target = `http://127.0.0.1:${process.env.PORT ?? 8080}`;

export default defineConfig({
  plugins: [react()],
  // { target } keeps the header Host, which the Runwire server compares with the page's origin.
  server: { proxy: { '/api': { target }, '/trpc': { target }, '/ws': { target, ws: true } } },
});
