'use client';

import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useTRPC } from '../../../lib/trpc.ts';

/** What users note about a run: data of the app, by its own tRPC. */
export function Notes({ runId }: { runId: string }) {
  const trpc = useTRPC();
  const queryClient = useQueryClient();
  const { data: notes = [] } = useQuery(trpc.note.list.queryOptions({ runId }));
  const add = useMutation(
    trpc.note.add.mutationOptions({
      onSuccess: () => queryClient.invalidateQueries(trpc.note.list.queryFilter({ runId })),
    }),
  );
  return (
    <form action={(form) => add.mutate({ runId, text: String(form.get('text')) })}>
      <ul aria-label="Notes">
        {notes.map((note) => (
          <li key={note}>{note}</li>
        ))}
      </ul>
      <input name="text" aria-label="Note" required />
      <button type="submit">Add</button>
    </form>
  );
}
