import { RunwireError } from '../../shared/errors.ts';
import type { RunHeader } from '../../shared/run.ts';
import { runMatcher } from '../../shared/run-filter.ts';
import type { WebhookFilter } from '../../shared/webhooks.ts';
import { can, coversProjects, requirePermission } from '../auth/permissions.ts';
import { everyProject, type Principal } from '../auth/principal.ts';
import type { StoredEvent } from '../event-log/contract/log.ts';

/** The filter of a webhook: the types and categories of a subscription, the labels of a list, and the rights of a viewer. */
export class WebhookMatcher {
  /** Undefined: all types. */
  readonly types: ReadonlySet<string> | undefined;
  /** Undefined: a run needs no labels. */
  readonly matchesRun: ((run: RunHeader) => boolean) | undefined;
  readonly #viewer: Principal;

  constructor(
    { projects, types, categories, labels }: WebhookFilter,
    typesOf: (category: string) => readonly string[],
  ) {
    if (types || categories) this.types = new Set([...(types ?? []), ...(categories ?? []).flatMap(typesOf)]);
    if (labels && Object.keys(labels).length > 0) this.matchesRun = runMatcher({ labels });
    this.#viewer = viewerOf(projects);
  }

  /** Whether an event may be sent and has the type. The labels are compared with the run. */
  readonly matches = ({ projectId, type }: Pick<StoredEvent, 'projectId' | 'type'>): boolean =>
    (this.types?.has(type) ?? true) && can(this.#viewer, 'read', { projectId });
}

/** What a webhook may send is what a viewer of its projects may read. */
export const viewerOf = (projects: readonly string[] | undefined): Principal => ({
  sub: 'webhook',
  roles: ['viewer'],
  projects: projects ?? [everyProject],
});

/** An administrator manages a webhook if its token covers all projects of the webhook. */
export const mayManage = (principal: Principal, { projects = [everyProject] }: WebhookFilter): boolean =>
  coversProjects(principal, { ...principal, projects });

/** Throws `FORBIDDEN` unless the caller may have a webhook with this filter. */
export function requireProjects(principal: Principal, filter: WebhookFilter): void {
  requirePermission(principal, 'webhooks');
  if (mayManage(principal, filter)) return;
  const message = 'the token does not cover the projects of the filter';
  throw new RunwireError('FORBIDDEN', message, { path: 'filter.projects' });
}
