import type { ReactNode } from 'react';
import { url, user } from '../lib/session.ts';
import { Providers } from './providers.tsx';

export const metadata = { title: 'Reports', icons: 'data:,' };
export const dynamic = 'force-dynamic'; // The URL is known at run time.

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>
        <Providers url={url()} user={user}>
          {children}
        </Providers>
      </body>
    </html>
  );
}
