'use client';

import { trpc, useRun } from 'runwire/react';

export function Live({ runId }: { runId: string }) {
  const { run, status } = useRun({ runId });
  const me = trpc.auth.me.useQuery();
  return (
    <p>
      run: {run?.name ?? status}, user: {me.data?.sub ?? me.status}
    </p>
  );
}
