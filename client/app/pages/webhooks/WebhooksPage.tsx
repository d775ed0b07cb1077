import { Shell } from '../../components/Shell.tsx';

export const WebhooksPage = () => (
  <Shell title="Webhooks">
    <h1>Webhooks</h1>
  </Shell>
);
