/** A notification. `tag` names its subject: a later notification with the same tag replaces it. */
export type Note = {
  tag: string;
  kind: 'approval' | 'other';
  title: string;
  body?: string | undefined;
  /** Address in the app. */
  href: string;
};

const BURST_MS = 10_000;
const MAX_IN_BURST = 3;
const BURST_TAG = 'runwire:several';

type Parts = {
  open(href: string): void;
  now?: () => number;
};

/** Shows notifications. More than three in 10 s become one with their number. */
export class Notifier {
  readonly #open: (href: string) => void;
  readonly #now: () => number;
  readonly #shown = new Map<string, Notification>();
  #recent: { note: Note; atMs: number }[] = [];

  constructor({ open, now = Date.now }: Parts) {
    this.#open = open;
    this.#now = now;
  }

  show(note: Note): void {
    const nowMs = this.#now();
    this.#recent = this.#recent.filter(({ atMs, note: { tag } }) => nowMs - atMs < BURST_MS && tag !== note.tag);
    this.#recent.push({ note, atMs: nowMs });
    if (this.#recent.length <= MAX_IN_BURST) {
      this.#display(note);
      return;
    }
    const notes = this.#recent.map((one) => one.note);
    for (const { tag } of notes) this.#close(tag);
    const areApprovals = notes.every(({ kind }) => kind === 'approval');
    this.#display({
      tag: BURST_TAG,
      kind: 'other',
      title: areApprovals ? `${notes.length} approvals wait for you` : `${notes.length} new notifications`,
      href: areApprovals ? '/approvals' : '/',
    });
  }

  /** Closes the notification of a subject, for example of an approval that somebody else has decided. */
  close(tag: string): void {
    this.#recent = this.#recent.filter(({ note }) => note.tag !== tag);
    this.#close(tag);
  }

  #display({ tag, title, body, href }: Note): void {
    const options = { tag, icon: '/icon.svg', ...(body === undefined ? {} : { body }) };
    const notification = new Notification(title, options);
    notification.onclick = () => {
      window.focus();
      notification.close();
      this.#open(href);
    };
    this.#shown.set(tag, notification);
  }

  #close(tag: string): void {
    this.#shown.get(tag)?.close();
    this.#shown.delete(tag);
  }
}
