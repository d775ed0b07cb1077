import { useEffect, useRef, useState } from 'react';
import { useRunwire } from '../../../hooks/index.ts';
import { Popover } from '../../components/Popover.tsx';
import { leaveField } from '../../hooks/useKeys.tsx';
import { setParams } from '../../lib/navigation.tsx';
import { paramsOf, type SearchFilter, withoutOperators } from './filter.ts';

/** Pause after the last key press before the search starts. */
const TYPING_MS = 300;

export const examples: readonly (readonly [text: string, finds: string])[] = [
  ['out of memory', 'all of these words, in any order; the last one may go on'],
  ['"tried to allocate"', 'these words side by side'],
  ['type:stage.failed who:ci-bot', 'failed stages that ci-bot has published; also project:'],
];

/** The text of the search. Enter and the arrow down lead to the events found. Operators in it, such as `type:stage.failed`, set the facets. */
type Props = {
  filter: SearchFilter;
  /** The focus moves to the first event found, once the search has answered. */
  onLeave: () => void;
};

export function SearchField({ filter, onLeave }: Props) {
  const { events } = useRunwire();
  const { text } = filter;
  const [typed, setTyped] = useState(text);
  /** The text in the address that this field has set. */
  const own = useRef(text);
  const latest = useRef(filter);
  useEffect(() => {
    latest.current = filter;
    if (text !== own.current) setTyped(text);
    own.current = text;
  }, [filter, text]);
  const search = (value: string, isWhole: boolean) => {
    const { types, projects, actors } = latest.current;
    const found = withoutOperators(value, isWhole, (type) => Object.hasOwn(events, type));
    // The operator that is being typed is not searched for.
    const asked = found.isTyping ? found.text.replace(/\S+$/, '').trimEnd() : found.text;
    own.current = asked;
    if (found.text !== value) setTyped(found.text);
    if (asked === text && found.text === value) return;
    const joined = (before: readonly string[], more: readonly string[]) => [...new Set([...before, ...more])];
    setParams(
      paramsOf({
        text: asked,
        ...(found.types.length > 0 ? { types: joined(types, found.types) } : {}),
        ...(found.projects.length > 0 ? { projects: joined(projects, found.projects) } : {}),
        ...(found.actors.length > 0 ? { actors: joined(actors, found.actors) } : {}),
      }),
    );
  };
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  return (
    <search className="field">
      <input
        type="search"
        aria-label="Search the text of all events"
        placeholder="Words, or “side by side”"
        maxLength={2_000}
        value={typed}
        onChange={({ target: { value } }) => {
          setTyped(value);
          clearTimeout(timer.current);
          timer.current = setTimeout(() => search(value, false), TYPING_MS);
        }}
        onKeyDown={(event) => {
          if (event.key === 'Escape') leaveField(event);
          if (event.key !== 'Enter' && event.key !== 'ArrowDown') return;
          event.preventDefault();
          clearTimeout(timer.current);
          search(typed, true);
          onLeave();
        }}
      />
      <Popover
        label="How to search"
        trigger={
          <button type="button" className="chip" aria-label="How to search">
            ?
          </button>
        }
      >
        <dl className="examples">
          {examples.map(([example, finds]) => (
            <div key={example}>
              <dt>
                <code>{example}</code>
              </dt>
              <dd>{finds}</dd>
            </div>
          ))}
        </dl>
      </Popover>
    </search>
  );
}
