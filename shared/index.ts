export * from './errors.ts';
export * from './events.ts';
export { normalizeInstant } from './fields.ts';
export { describeIssue } from './issues.ts';
export * from './protocol.ts';
export {
  type CategoryOf,
  type CheckedDraftOf,
  categoriesOf,
  type DraftOf,
  defineEvent,
  draftSchemaOf,
  type EventOf,
  eventSchemaOf,
  foldOf,
  type LoggedEnvelope,
  type Registry,
  type TypeOf,
} from './registry.ts';
export * from './run.ts';
export * from './run-fold.ts';
export * from './run-memory.ts';
