import { z } from 'zod';

// The content security policy forbids `eval`. By default, zod tries it when it creates a schema, and the browser reports a
// violation. main.tsx imports this module before any module that creates schemas. package.json lists it in
// `sideEffects`: otherwise the build drops it.
z.config({ jitless: true });
