import {
  cloneElement,
  type MouseEvent,
  type ReactElement,
  type ReactNode,
  type RefObject,
  useId,
  useRef,
  useState,
} from 'react';
import { lazily } from '../lib/lazily.tsx';
import { PartErrors } from './PartErrors.tsx';

const Panel = lazily(() => import('./PopoverPanel.tsx').then((part) => part.PopoverPanel));

type TriggerProps = {
  ref?: RefObject<HTMLButtonElement | null>;
  onClick?: (event: MouseEvent) => void;
  [name: string]: unknown;
};

type Props = {
  /** Name of the popover for screen readers. */
  label: string;
  /** A button. */
  trigger: ReactElement<TriggerProps>;
  align?: 'start' | 'end' | undefined;
  /** Loads the code of the content, when the pointer or the focus comes to the button. */
  onPreload?: (() => void) | undefined;
  /** The content; a function gets `close`. */
  children: ReactNode | ((close: () => void) => ReactNode);
};

/** A button that opens a panel beside it. Its code is loaded when the pointer or the focus comes to the button. */
export function Popover({ label, trigger, align = 'start', onPreload, children }: Props) {
  const [open, setOpen] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  const id = useId();
  const preload = () => {
    void Panel.preload();
    onPreload?.();
  };
  const close = () => setOpen(false);
  return (
    <>
      {cloneElement(trigger, {
        ref: button,
        'aria-haspopup': 'dialog',
        'aria-expanded': open,
        'aria-controls': open ? id : undefined,
        onPointerEnter: preload,
        onFocus: preload,
        onClick: (event: MouseEvent) => {
          trigger.props.onClick?.(event);
          setOpen((wasOpen) => !wasOpen);
        },
      })}
      {open && (
        <PartErrors onClose={close}>
          <Panel id={id} label={label} anchor={button} align={align} onClose={close}>
            {typeof children === 'function' ? children(close) : children}
          </Panel>
        </PartErrors>
      )}
    </>
  );
}
