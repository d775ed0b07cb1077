import { Content, Item, Portal, RadioGroup, RadioItem, Root, Separator, Trigger } from '@radix-ui/react-dropdown-menu';
import type { ReactElement, ReactNode } from 'react';
import '../styles/components/popover.css';

/** A button that opens a list of actions. For files that are loaded lazily: Radix is not in the first file. */
export const Menu = ({ label, trigger, children }: { label: string; trigger: ReactElement; children: ReactNode }) => (
  // A modal menu would insert a style element, which the content security policy forbids.
  <Root modal={false}>
    <Trigger asChild>{trigger}</Trigger>
    <Portal>
      <Content className="menu" aria-label={label} align="end" sideOffset={4} collisionPadding={8}>
        {children}
      </Content>
    </Portal>
  </Root>
);

type ItemProps = { onSelect: () => void; disabled?: boolean; children: ReactNode };

export const MenuItem = ({ onSelect, disabled = false, children }: ItemProps) => (
  <Item className="menu-item" onSelect={onSelect} disabled={disabled}>
    {children}
  </Item>
);

/** An item that is a link: also to be opened in another tab, or downloaded. */
export const MenuLink = ({ children }: { children: ReactElement }) => (
  <Item className="menu-item" asChild>
    {children}
  </Item>
);

export const MenuSeparator = () => <Separator className="menu-separator" />;

type ChoiceProps<Value extends string> = {
  label: string;
  value: Value;
  options: readonly (readonly [value: Value, name: string])[];
  onChange: (value: Value) => void;
};

export const MenuChoice = <Value extends string>({ label, value, options, onChange }: ChoiceProps<Value>) => (
  <RadioGroup aria-label={label} value={value} onValueChange={(next) => onChange(next as Value)}>
    {options.map(([option, name]) => (
      <RadioItem key={option} className="menu-item" value={option}>
        {name}
      </RadioItem>
    ))}
  </RadioGroup>
);
