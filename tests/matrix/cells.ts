/** What the package is tried with: sets of tRPC packages that the registry has, and versions of everything else. */

export type Face = 'hooks' | 'react' | 'tanstack';

export type TrpcSet = {
  name: string;
  packages: string[];
  /** The entries of the package that have their peers in this set. */
  faces: Face[];
};

export const trpcSets: TrpcSet[] = [
  {
    name: '11.19.0, classic and TanStack',
    packages: ['server', 'client', 'react-query', 'tanstack-react-query'].map((name) => `@trpc/${name}@11.19.0`),
    faces: ['hooks', 'react', 'tanstack'],
  },
  {
    name: '11.22.1, TanStack',
    packages: ['server', 'client', 'tanstack-react-query'].map((name) => `@trpc/${name}@11.22.1`),
    faces: ['hooks', 'tanstack'],
  },
  {
    name: '11.25.2',
    packages: ['server', 'client'].map((name) => `@trpc/${name}@11.25.2`),
    faces: ['hooks'],
  },
];

export type ReactSet = { name: string; packages: string[] };

/** The older React comes with the oldest version that each range of a peer admits, as in an app that pins them. */
export const reactSets: ReactSet[] = [
  {
    name: '18.3',
    packages: ['react@~18.3.0', 'react-dom@~18.3.0', '@types/react@~18.3.0', '@types/react-dom@~18.3.0'].concat(
      '@tanstack/react-query@5.80.3',
      'zod@4.0.0',
    ),
  },
  {
    name: '19.3',
    packages: ['react@~19.3.0', 'react-dom@~19.3.0', '@types/react@~19.3.0', '@types/react-dom@~19.3.0'].concat(
      '@tanstack/react-query@5.108.0',
      'zod@4.6.7',
    ),
  },
];

/** Versions of TypeScript, and the folders in which a project has them. */
export const compilers = [
  { name: '5.9', folder: 'typescript-5.9', source: 'typescript-5.9@npm:typescript@~5.9.0' },
  { name: '7.0', folder: 'typescript', source: 'typescript@~7.0.0' },
] as const;
export type Compiler = (typeof compilers)[number];

export const resolutions = ['bundler', 'node16'] as const;
export type Resolution = (typeof resolutions)[number];

export const nodeVersions = [20, 22, 24] as const;

/** Packages that the user's server needs besides: a client in Node.js 20 brings its own WebSocket. */
export const serverPackages = ['ws@8.23.0', '@types/ws@8.18.2', '@types/node@20'];
/** Needed where Node.js has no SQLite. */
export const sqlitePackage = '@photostructure/sqlite@1.2.1';
