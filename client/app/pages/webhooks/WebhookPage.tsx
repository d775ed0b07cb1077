import { Shell } from '../../components/Shell.tsx';

export const WebhookPage = ({ webhookId }: { webhookId: string }) => (
  <Shell title="Webhook">
    <h1>{webhookId}</h1>
  </Shell>
);
