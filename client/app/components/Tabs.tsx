import { Content, List, Root, Trigger } from '@radix-ui/react-tabs';
import type { ReactNode } from 'react';
import { formatCount } from '../lib/format.ts';
import { setParams, useParams } from '../lib/navigation.tsx';
import '../styles/components/tabs.css';

export type Tab = { id: string; name: string; count?: number | undefined; content: ReactNode };

/** Tabs. The choice is in the address (`?tab=`). The first tab is the default. Only the chosen one is mounted. */
export function Tabs({ label, tabs }: { label: string; tabs: readonly Tab[] }) {
  const wanted = useParams().get('tab');
  const [usual] = tabs;
  const value = (tabs.find(({ id }) => id === wanted) ?? usual)?.id ?? '';
  const choose = (id: string) => setParams({ tab: id === usual?.id ? undefined : id });
  return (
    <Root value={value} onValueChange={choose}>
      <List className="tabs" aria-label={label}>
        {tabs.map(({ id, name, count }) => (
          <Trigger key={id} value={id} className="tab">
            {name}
            {count !== undefined && <span className="count"> {formatCount(count)}</span>}
          </Trigger>
        ))}
      </List>
      {tabs.map(({ id, content }) => (
        <Content key={id} value={id}>
          {content}
        </Content>
      ))}
    </Root>
  );
}
