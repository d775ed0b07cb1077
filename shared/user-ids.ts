/**
 * Normalizes a user id, for the rules that count users and keep them from deciding their own requests: `Ada@Example.org`
 * and `ada@example.org` are one user there. Everywhere else, user ids are compared exactly.
 */
const comparable = (user: string): string =>
  user
    .normalize('NFKC')
    .replace(/\p{Default_Ignorable_Code_Point}/gu, '')
    .trim()
    .toLowerCase();

export const isSameUser = (a: string, b: string): boolean => a === b || comparable(a) === comparable(b);
