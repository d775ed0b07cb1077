/** What the code blocks of the documents leave to the reader's app. */

import type { ReactNode } from 'react';

declare global {
  function RunPage(props: { runId: string }): ReactNode;
  /** Fetches a token from the app's server. */
  function fetchToken(): Promise<string>;
  function tokenOfTheUser(): Promise<string>;
  function findSession(token: string): Promise<{ userId: string; projects: string[]; endsAtMs: number } | undefined>;
  function notify(event: { type: string; runId: string }): void;
  const session: { token: string } | undefined;
  const userId: string;
  const url: string;
  const token: string;
}
