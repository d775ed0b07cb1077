import { z } from 'zod';

// The page may not eval: without this, zod tries as soon as a schema is made, and the browser reports a violation.
// Imported before everything that makes schemas.
z.config({ jitless: true });
