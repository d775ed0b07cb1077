import { Component, type ReactNode } from 'react';
import { PartNotLoaded } from '../lib/lazily.tsx';
import { Copy } from './Copy.tsx';
import { Notice } from './Notice.tsx';

/** Shows an error that a page threw while it rendered, in place of the page. Another page (`of`) is tried again. */
export class PageErrors extends Component<{ of: string; children: ReactNode }, { error: Error | null; of: string }> {
  override state = { error: null as Error | null, of: this.props.of };

  static getDerivedStateFromError(error: unknown) {
    return { error: error instanceof Error ? error : new Error(String(error)) };
  }

  static getDerivedStateFromProps(props: { of: string }, state: { of: string }) {
    return props.of === state.of ? null : { of: props.of, error: null };
  }

  readonly #retry = () => {
    const { error } = this.state;
    if (error instanceof PartNotLoaded) error.forget();
    this.setState({ error: null });
  };

  override render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    const isPart = error instanceof PartNotLoaded;
    return (
      <Notice title={isPart ? 'This page could not be loaded' : 'Something went wrong'}>
        <p role="alert">{isPart ? 'The server did not send it. Reload if a new version is out.' : error.message}</p>
        <p className="tools">
          <button type="button" onClick={this.#retry}>
            Try again
          </button>
          {isPart ? (
            <button type="button" onClick={() => window.location.reload()}>
              Reload
            </button>
          ) : (
            <Copy text={`${window.location.pathname}\n${error.stack ?? error.message}`} what="details" />
          )}
        </p>
      </Notice>
    );
  }
}
