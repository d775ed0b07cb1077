import { Shell } from '../../components/Shell.tsx';

export const OperationsPage = () => (
  <Shell title="Operations">
    <h1>Operations</h1>
  </Shell>
);
