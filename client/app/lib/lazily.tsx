import { type ComponentType, use } from 'react';

export type Lazy<Props> = ComponentType<Props> & {
  /** Loads the code of the component. A later render then shows the component at once. Never rejects. */
  preload(): Promise<void>;
};

/** The code of a component could not be loaded. After `forget`, the next render loads it again. */
export class PartNotLoaded extends Error {
  readonly forget: () => void;

  constructor(cause: unknown, forget: () => void) {
    super('A part of the app could not be loaded', { cause });
    this.forget = forget;
  }
}

/**
 * Returns a component. Its code is loaded at the first render, or before by `preload`. Unlike `React.lazy`, it renders code
 * that is loaded already without suspending, so the Back button finds the page at its full height, and a failure is not
 * final.
 */
export function lazily<Props extends object>(load: () => Promise<ComponentType<Props>>): Lazy<Props> {
  let Loaded: ComponentType<Props> | undefined;
  let loading: Promise<ComponentType<Props>> | undefined;
  const forget = () => {
    loading = undefined;
  };
  const loadOnce = () => {
    loading ??= load().then(
      (component) => {
        Loaded = component;
        return component;
      },
      (error: unknown) => {
        throw new PartNotLoaded(error, forget);
      },
    );
    return loading;
  };
  const Part = (props: Props) => {
    const Component = Loaded ?? use(loadOnce());
    return <Component {...props} />;
  };
  return Object.assign(Part, {
    preload: async () => {
      await loadOnce().catch(forget);
    },
  });
}
