import { Content, Description, Portal, Root, Title } from '@radix-ui/react-dialog';
import { type ReactNode, useRef } from 'react';
import '../styles/components/dialog.css';

type Props = {
  open: boolean;
  onOpenChange: (open: boolean) => void;
  title: ReactNode;
  /** A sentence below the title, which screen readers read with it. */
  description?: ReactNode;
  /** Id of an element that describes the dialog, in place of `description`. */
  describedBy?: string | undefined;
  /** A click outside does not close the dialog: while something is being sent. */
  isLocked?: boolean | undefined;
  children: ReactNode;
};

/**
 * A modal dialog; in a narrow window a sheet at the bottom. The first field gets the focus, and the element that had it before
 * gets it back. For files that are loaded lazily: Radix is not in the first file.
 *
 * Radix's own overlay is not used: it inserts a style element, which the content security policy forbids.
 */
export function Dialog({ open, onOpenChange, title, description, describedBy, isLocked = false, children }: Props) {
  const before = useRef<Element | null>(null);
  return (
    <Root open={open} onOpenChange={onOpenChange}>
      <Portal>
        <div className="overlay" />
        <Content
          className="dialog"
          aria-describedby={description === undefined ? describedBy : undefined}
          onOpenAutoFocus={(event) => {
            before.current = document.activeElement;
            const content = event.target as Element | null;
            const wanted = content?.querySelector<HTMLElement>('[data-autofocus]');
            const first = wanted ?? content?.querySelector<HTMLElement>('textarea, input');
            if (!first) return;
            event.preventDefault();
            first.focus();
          }}
          onCloseAutoFocus={(event) => {
            event.preventDefault();
            const back = before.current?.isConnected ? before.current : document.querySelector('main');
            if (back instanceof HTMLElement) back.focus({ preventScroll: true });
          }}
          onPointerDownOutside={(event) => isLocked && event.preventDefault()}
        >
          <Title className="dialog-title">{title}</Title>
          {description !== undefined && <Description>{description}</Description>}
          {children}
        </Content>
      </Portal>
    </Root>
  );
}
