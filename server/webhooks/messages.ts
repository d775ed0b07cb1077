import { createHash, randomUUID } from 'node:crypto';
import type { RunHeader } from '../../shared/run.ts';
import type { WebhookGap, WebhookMessage, WebhookShape } from '../../shared/webhooks.ts';
import type { StoredEvent } from '../event-log/contract/log.ts';
import { cut, type Words, wordsOf } from './words.ts';

/** Makes the bodies and the ids of messages. */

export type Built = WebhookMessage & { body: string };
type Target = { id: string; shape: WebhookShape };

export class WebhookMessages {
  readonly #publicUrl: string | undefined;

  /** `publicUrl`: address of the web app; without it, messages have no links. */
  constructor(publicUrl: string | undefined) {
    this.#publicUrl = publicUrl?.replace(/\/+$/, '');
  }

  /** A message about an event as the log has it now: an erased event is its tombstone. */
  ofEvent({ id, shape }: Target, record: StoredEvent, run: RunHeader | undefined): Built {
    const { type, seq, runSeq, projectId, runId } = record;
    const event = record.event as { eventId: string; timestamp: string };
    const message = { kind: 'event', seq, messageId: eventMessageId(id, projectId, event.eventId), type } as const;
    const body =
      shape === 'json'
        ? `{"type":${JSON.stringify(type)},"timestamp":${JSON.stringify(event.timestamp)},"data":${record.json}}`
        : this.#inWords(shape, wordsOf(event), {
            about: `${run?.name ?? runId} · ${projectId}`,
            link: this.#linkTo(projectId, runId, runSeq),
            at: event.timestamp,
          });
    return { ...message, projectId, runId, body };
  }

  /** `epoch`: of the log, so that a gap of a restored log has another id. */
  ofGap({ id, shape }: Target, gap: WebhookGap, epoch: string): Built {
    const { reason, fromSeq, toSeq, at } = gap;
    const messageId = digest([id, 'gap', epoch, reason, String(fromSeq), String(toSeq)]);
    const body = this.#own(shape, 'stream.gap', at, { reason, fromSeq, toSeq });
    return { kind: 'gap', seq: toSeq, messageId, type: 'stream.gap', body };
  }

  ofTest({ id, shape }: Target, name: string): { messageId: string; body: string } {
    const messageId = digest([id, 'test', randomUUID()]);
    return { messageId, body: this.#own(shape, 'webhook.test', new Date().toISOString(), { name }) };
  }

  #own(shape: WebhookShape, type: string, timestamp: string, data: object): string {
    if (shape === 'json') return JSON.stringify({ type, timestamp, data });
    return this.#inWords(shape, wordsOf({ ...data, type }), {
      about: 'Runwire',
      link: this.#publicUrl,
      at: timestamp,
    });
  }

  #linkTo(projectId: string, runId: string, runSeq: number): string | undefined {
    if (this.#publicUrl === undefined) return undefined;
    return `${this.#publicUrl}/runs/${encodeURIComponent(projectId)}/${encodeURIComponent(runId)}?event=${runSeq}`;
  }

  #inWords(shape: 'slack' | 'teams', words: Words, context: Context): string {
    return JSON.stringify(shape === 'slack' ? slackOf(words, context) : teamsOf(words, context));
  }
}

const LINK = 'Open in Runwire';

type Context = { about: string; link: string | undefined; at: string };

/** The id of the message about an event. Every log in which the event is has the same. */
export const eventMessageId = (webhookId: string, projectId: string, eventId: string): string =>
  digest([webhookId, 'event', projectId, eventId]);

const digest = (parts: readonly string[]): string =>
  `msg_${createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32)}`;

/**
 * Texts of producers are `plain_text`, in which Slack reads no links, mentions or formatting. `text` is for notifications and
 * has the three characters escaped that begin them.
 */
function slackOf({ title, detail, facts, link: linkText = LINK }: Words, { about, link, at }: Context): object {
  const plain = (text: string) => ({ type: 'plain_text', text, emoji: false });
  const blocks: object[] = [{ type: 'header', text: plain(title) }];
  for (const text of [detail, facts]) if (text !== undefined) blocks.push({ type: 'section', text: plain(text) });
  blocks.push({ type: 'context', elements: [plain(cut(`${about} · ${at}`, 300))] });
  if (link !== undefined) {
    blocks.push({ type: 'section', text: { type: 'mrkdwn', text: `<${escaped(link)}|${linkText}>` } });
  }
  return { text: escaped(cut([title, facts, detail, about].filter(Boolean).join(' · '), 300)), blocks };
}

const escaped = (text: string): string => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');

/** Texts of producers are text runs: in a `TextBlock`, Teams would read Markdown. */
function teamsOf({ title, detail, facts, link: linkText = LINK }: Words, { about, link, at }: Context): object {
  const line = (text: string, more: object = {}) => ({
    type: 'RichTextBlock',
    inlines: [{ type: 'TextRun', text, ...more }],
  });
  const content = {
    $schema: 'http://adaptivecards.io/schemas/adaptive-card.json',
    type: 'AdaptiveCard',
    version: '1.4',
    body: [
      line(title, { weight: 'bolder', size: 'medium' }),
      ...[detail, facts].filter((text) => text !== undefined).map((text) => line(text)),
      line(cut(`${about} · ${at}`, 300), { isSubtle: true }),
    ],
    ...(link === undefined ? {} : { actions: [{ type: 'Action.OpenUrl', title: linkText, url: link }] }),
  };
  const attachment = { contentType: 'application/vnd.microsoft.card.adaptive', contentUrl: null, content };
  return { type: 'message', attachments: [attachment] };
}
