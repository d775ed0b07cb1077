import pino from 'pino';

/** The logger of servers under test. Vitest shows what a failed test has written to the console, and nothing of the others. */
export const consoleLogger = pino({ level: 'warn' }, { write: (line: string) => console.error(line.trimEnd()) });
