import { appendFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';

export type Report = (progress: { done: number; total: number; message: string }) => Promise<unknown>;
type Tool = { needsApproval?: boolean; run(args: Record<string, string>, report: Report): Promise<string> };

/** What the agent can do. `run` returns what the model reads. */
export const tools: Record<string, Tool> = {
  find_order: {
    run: async ({ order }) => `order ${order}: one lamp, 49.90 EUR, delivered 9 days late`,
  },
  read_policy: {
    run: async (_args, report) => {
      const pages = ['deliveries', 'delays', 'refunds'];
      for (const [index, page] of pages.entries()) {
        await report({ done: index + 1, total: pages.length, message: `reads about ${page}` });
        await setTimeout(200);
      }
      return 'a delay of more than 7 days: refund of the full price';
    },
  },
  pay_refund: {
    needsApproval: true,
    run: async ({ order, amount }) => {
      await appendFile('data/refunds.txt', `${order} ${amount}\n`);
      return `paid ${amount}`;
    },
  },
};
