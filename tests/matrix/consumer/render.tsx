import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { ComponentType } from 'react';
import { renderToString } from 'react-dom/server';

/** Renders the pages as a server does: they show their loading state, and open no connection. */

type Page = { App: ComponentType<{ url: string; token: string }> };

for (const [face, text] of [
  ['hooks', 'no status'],
  ['react', 'no name'],
  ['tanstack', 'no name'],
  ['compat', 'CONNECTING'],
] as const) {
  if (!existsSync(join(import.meta.dirname, `${face}.js`))) continue; // Its peers are not in this set.
  const { App } = (await import(`./${face}.js`)) as Page;
  const html = renderToString(<App url="http://127.0.0.1:1" token="none" />);
  if (!html.includes(text)) throw new Error(`${face} rendered: ${html}`);
  console.log(face, html);
}
