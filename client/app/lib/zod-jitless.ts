import { z } from 'zod';

// The content security policy forbids `eval`. By default, zod tries `eval` for the first schema, and the browser reports a
// violation. So main.tsx imports this module before any module that creates schemas. package.json lists this module in
// `sideEffects`: otherwise the build would remove the import.
z.config({ jitless: true });
