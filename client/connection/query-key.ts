/** Returns a key for React Query that no other user and no other server shares. */
export const queryKeyOf = (server: string, subject: string, ...parts: readonly unknown[]): readonly unknown[] => [
  'runwire',
  server,
  subject,
  ...parts,
];
