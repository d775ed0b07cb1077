import { createHmac } from 'node:crypto';
import type { Logger } from 'pino';
import { RunwireError } from '../../shared/errors.ts';
import type { ReadyDraft } from '../event-log/contract/log.ts';
import { type Guard, guardRefusal, isRefused, type PhiPolicy } from './policy.ts';
import { WITHHELD } from './withhold.ts';

export type PrivacyOptions = {
  guard: Guard;
  policy: PhiPolicy;
  /** Key of the digests that replace ids. The key must not change: an id always has the same replacement. */
  secret: string;
  logger: Logger;
};

/** Applies the PHI guard to ids and texts outside of drafts, such as ids in the access log and reasons of erasures. */
export class Privacy {
  readonly #guard: Guard;
  readonly #policy: PhiPolicy;
  readonly #secret: string;
  readonly #logger: Logger;

  constructor({ guard, policy, secret, logger }: PrivacyOptions) {
    this.#guard = guard;
    this.#policy = policy;
    this.#secret = secret;
    this.#logger = logger;
  }

  /** Whether the guard refuses an id. */
  isRefused(id: string): boolean {
    return isRefused(this.#guard, id);
  }

  /**
   * Returns `id`, or a replacement if the guard refuses the id or the name from which the id was made. The replacement
   * is `kind` and an HMAC of the name, the same each time. A digest without a secret key was rejected: there are so few
   * names and record numbers that an attacker could try them all.
   */
  idFor(kind: string, id: string, name = id): string {
    if (!this.isRefused(id) && (name === id || !this.isRefused(name))) return id;
    return `${kind}-${this.digestOf(name).slice(0, 32)}`;
  }

  /** HMAC-SHA-256 of a text with the log's secret, in hex: equal texts of one log have equal digests. */
  digestOf(text: string): string {
    return createHmac('sha256', this.#secret).update(text).digest('hex');
  }

  /** Redacts a text outside of drafts under every policy. A text that the guard refuses becomes `(withheld)`. */
  redactText(field: string, text: string): string {
    try {
      return this.#guarded(field, text, 'redact');
    } catch {
      return WITHHELD;
    }
  }

  /** Redacts a text outside of drafts, or throws `PHI_REJECTED` with `field` as path, by the server's policy. */
  guardText(field: string, text: string): string {
    try {
      return this.#guarded(field, text, this.#policy);
    } catch (error) {
      const { message, isDefect } = guardRefusal(error);
      if (isDefect) this.#logger.error({ type: field }, 'the PHI guard failed; the text is refused');
      throw new RunwireError('PHI_REJECTED', `${field}: ${message}`, { path: field });
    }
  }

  #guarded(field: string, text: string, policy: PhiPolicy): string {
    const envelope = { type: field, projectId: 'runwire', runId: 'runwire', eventId: 'runwire' };
    const draft = { ...envelope, timestamp: new Date().toISOString(), [field]: text };
    return (this.#guard(draft, policy) as ReadyDraft & { [field: string]: string })[field] as string;
  }
}
