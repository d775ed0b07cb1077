import { QueryClient } from '@tanstack/react-query';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './App.tsx';
import { isRetryable } from './lib/errors.ts';
import { SessionProvider } from './session/SessionProvider.tsx';
import './styles/base.css';
import './styles/components/shell.css';
import './styles/components/controls.css';
import './styles/components/badge.css';
import './styles/components/status.css';
import './styles/components/notice.css';
import { applyStoredSettings } from './hooks/useSetting.ts';

applyStoredSettings();

// Subscriptions keep loaded data up to date. So no query is repeated because of its age or a focus of the window.
const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: Number.POSITIVE_INFINITY,
      refetchOnWindowFocus: false,
      retry: (failures, error) => isRetryable(error) && failures < 3,
    },
  },
});

const root = document.getElementById('root');
if (!root) throw new Error('index.html has no #root');
createRoot(root).render(
  <StrictMode>
    <SessionProvider url={import.meta.env.VITE_WEBSOCKET_URL || undefined} queryClient={queryClient}>
      <App />
    </SessionProvider>
  </StrictMode>,
);
