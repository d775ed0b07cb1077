import { Shell } from '../../components/Shell.tsx';

export const ApprovalsPage = () => (
  <Shell title="Approvals">
    <h1>Approvals</h1>
  </Shell>
);
