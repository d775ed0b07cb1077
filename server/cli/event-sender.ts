import type { EventPublisher, PublisherDraft } from '../../client/publisher/index.ts';
import type { RunwireError } from '../../shared/errors.ts';
import { publishWithholding } from '../phi/withhold.ts';
import { describeError } from './errors.ts';

/** How long `exec` waits for its events to be stored, after the commands have ended. */
const DELIVERY_WAIT_MS = 5_000;

/** Sends the events of one run in the background: no command waits for the server, or fails because of it. */
export class EventSender {
  readonly #publisher: EventPublisher;
  readonly #sending = new Set<Promise<void>>();
  readonly #undelivered = new Tally();
  readonly #withheld = new Tally();

  constructor(publisher: EventPublisher) {
    this.#publisher = publisher;
  }

  /**
   * `outcome` describes a failure without the command's output, such as `exit code 1`. If the PHI guard refuses the
   * output, `outcome` is sent instead.
   */
  send(draft: PublisherDraft, outcome?: string): void {
    // The timestamp is set here: a retry must not change it.
    const sent = this.#deliver({ timestamp: new Date().toISOString(), ...draft }, outcome);
    this.#sending.add(sent);
    void sent.finally(() => this.#sending.delete(sent));
  }

  /** Resolves once every event is stored or has failed, after 5 s at the latest. */
  async finish(): Promise<void> {
    void this.#publisher.flush();
    const timer = setTimeout(() => this.giveUp(), DELIVERY_WAIT_MS);
    // The publisher stays open: a draft that the PHI guard refuses is sent again without the refused field.
    await Promise.all(this.#sending);
    clearTimeout(timer);
  }

  /** Drops the events that are not stored yet. */
  giveUp(): void {
    void this.#publisher.close(0);
  }

  /** Writes to stderr how many events were lost, and why. */
  report(runId: string): void {
    const { count, reason } = this.#undelivered;
    if (count > 0) {
      const events = count === 1 ? '1 event' : `${count} events`;
      process.stderr.write(`runwire: ${events} of run ${runId} could not be delivered: ${reason}\n`);
    }
    if (this.#withheld.count > 0) {
      process.stderr.write(
        `runwire: output of run ${runId} was withheld from its progress: ${this.#withheld.reason}\n`,
      );
    }
  }

  async #deliver(draft: PublisherDraft, outcome: string | undefined): Promise<void> {
    try {
      await publishWithholding([draft], (drafts) => this.#publisher.publish(drafts), outcome);
    } catch (caught) {
      const error = caught as RunwireError;
      const isOutput = error.code === 'PHI_REJECTED' && error.issues[0]?.path === 'message';
      (isOutput ? this.#withheld : this.#undelivered).add(describeError(error));
    }
  }
}

/** Counts failures, and keeps the reason of the first one. */
class Tally {
  count = 0;
  reason: string | undefined;

  add(reason: string): void {
    this.count++;
    this.reason ??= reason;
  }
}
