'use client';

import { useMutation } from '@tanstack/react-query';
import { useRouter } from 'next/navigation';
import { useTRPC } from '../lib/trpc.ts';

export function StartButton() {
  const router = useRouter();
  const trpc = useTRPC();
  const start = useMutation(
    trpc.report.start.mutationOptions({ onSuccess: ({ runId }) => router.push(`/runs/${runId}`) }),
  );
  return (
    <button type="button" disabled={start.isPending} onClick={() => start.mutate()}>
      Write a report
    </button>
  );
}
