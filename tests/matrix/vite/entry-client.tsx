import { hydrateRoot } from 'react-dom/client';
import { App, type PageData } from './app';

const data = JSON.parse(document.getElementById('data')?.textContent ?? '') as PageData;
const report = (error: unknown) => console.error(error);
hydrateRoot(document.getElementById('root') as HTMLElement, <App {...data} />, { onRecoverableError: report });
