import { renderToString } from 'react-dom/server';
import * as hooks from './hooks.js';

/** Renders the pages as a server does: they show their loading state, and open no connection. */
const html = renderToString(<hooks.App url="http://127.0.0.1:1" token="none" />);
if (!html.includes('no status')) throw new Error(`rendered: ${html}`);
console.log(html);
