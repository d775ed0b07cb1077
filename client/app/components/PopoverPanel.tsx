import { Anchor, Content, Portal, Root } from '@radix-ui/react-popover';
import type { ReactNode, RefObject } from 'react';
import '../styles/components/popover.css';

type Props = {
  id: string;
  label: string;
  anchor: RefObject<HTMLButtonElement | null>;
  align: 'start' | 'end';
  onClose: () => void;
  children: ReactNode;
};

/** The open part of `Popover`. Closing returns the focus to the button, unless a click has moved it elsewhere. */
export function PopoverPanel({ id, label, anchor, align, onClose, children }: Props) {
  const isOfAnchor = (target: EventTarget | null) =>
    target instanceof Node && anchor.current?.contains(target) === true;
  return (
    <Root open onOpenChange={(open) => open || onClose()}>
      <Anchor virtualRef={anchor as RefObject<HTMLButtonElement>} />
      <Portal>
        <Content
          id={id}
          className="popover"
          aria-label={label}
          align={align}
          sideOffset={4}
          collisionPadding={8}
          onInteractOutside={(event) => isOfAnchor(event.target) && event.preventDefault()}
          onCloseAutoFocus={(event) => {
            event.preventDefault();
            if (document.activeElement === document.body) anchor.current?.focus({ preventScroll: true });
          }}
        >
          {children}
        </Content>
      </Portal>
    </Root>
  );
}
