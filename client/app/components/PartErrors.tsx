import { Component, type ReactNode, Suspense } from 'react';
import { PartNotLoaded } from '../lib/lazily.tsx';
import { showToast } from './Toast.tsx';

const RETRY_MS = 5_000;

type Props = {
  /** Closes the part that the user has opened. Without it, the part is tried again after 5 s. */
  onClose?: (() => void) | undefined;
  children: ReactNode;
};

/**
 * A part beside the page, such as a menu. Its code is loaded later than that of the page, which stays while it loads and when it
 * fails.
 */
export class PartErrors extends Component<Props, { hasFailed: boolean }> {
  override state = { hasFailed: false };
  #timer: ReturnType<typeof setTimeout> | undefined;

  static getDerivedStateFromError() {
    return { hasFailed: true };
  }

  override componentDidCatch(error: unknown) {
    if (error instanceof PartNotLoaded) error.forget();
    const { onClose } = this.props;
    if (onClose) {
      showToast('The server did not send this part of the page. Try again.');
      onClose();
    } else this.#timer = setTimeout(() => this.setState({ hasFailed: false }), RETRY_MS);
  }

  override componentWillUnmount() {
    clearTimeout(this.#timer);
  }

  override render() {
    return this.state.hasFailed ? null : <Suspense>{this.props.children}</Suspense>;
  }
}
