import type { ReactNode } from 'react';
import { Providers } from './providers';

export default function Layout({ children }: { children: ReactNode }) {
  const { RUNWIRE_URL: url = '', RUNWIRE_TOKEN: token = '' } = process.env;
  return (
    <Providers url={url} token={token}>
      {children}
    </Providers>
  );
}
