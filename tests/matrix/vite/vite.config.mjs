export default ({ isSsrBuild }) => ({
  logLevel: 'warn',
  build: isSsrBuild ? {} : { rollupOptions: { input: 'entry-client.tsx' } },
});
