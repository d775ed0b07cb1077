import { runwireCategories } from '../../shared/event-categories.ts';
import type { EventTable } from '../../shared/event-table.ts';
import type { AppRouter } from '../../shared/router.ts';
import type { Connection } from '../connection/connection.ts';
import type { RunwireClient } from '../connection/runwire.ts';
import { FrameScheduler } from './frame-scheduler.ts';

/** What all feeds of one user on one connection share. */
export class FeedScope {
  readonly client: RunwireClient;
  readonly connection: Connection<AppRouter>;
  /** The event types: their categories, for handlers, and the folds of own types, for the state of a run. */
  readonly events: EventTable;
  /** All hooks share one scheduler, so that React renders their changes together, once a frame. */
  readonly frames = new FrameScheduler();
  readonly #onEnd = new Set<() => void>();
  #isEnded = false;

  constructor(client: RunwireClient, connection: Connection<AppRouter>, events: EventTable = runwireCategories) {
    this.client = client;
    this.connection = connection;
    this.events = events;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Calls `onEnd` at {@link end}. Returns a function that removes it. */
  whenEnded(onEnd: () => void): () => void {
    this.#onEnd.add(onEnd);
    return () => void this.#onEnd.delete(onEnd);
  }

  /**
   * Closes all subscriptions at once, for a change of the user. From then on, no handler is called and no subscription is
   * opened.
   */
  end(): void {
    this.#isEnded = true;
    this.frames.clear();
    for (const onEnd of [...this.#onEnd]) onEnd();
  }
}
