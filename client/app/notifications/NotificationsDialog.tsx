import { Dialog } from '../components/Dialog.tsx';
import { refusedText, type Topic, usePermission, useTopics } from './settings.ts';

const topics: readonly (readonly [topic: Topic, text: string])[] = [
  ['approvals', 'An approval waits for me'],
  ['decided', 'An approval that I asked for is decided'],
  ['ended', 'A run that I started or follow has ended'],
];
const others: readonly (readonly [topic: Topic, text: string, why: string])[] = [
  ['front', 'Also when the page is in front', ''],
  ['details', 'Show details', 'Titles and errors, also on a lock screen'],
];

/** What this browser notifies about. The browser asks for permission only after a click on `Turn on notifications`. */
export function NotificationsDialog({ onClose }: { onClose: () => void }) {
  const { permission, ask } = usePermission();
  return (
    <Dialog open onOpenChange={(open) => open || onClose()} title="Notifications">
      {permission === 'granted' ? (
        <Choices />
      ) : permission === 'denied' ? (
        <p role="alert">{refusedText()}</p>
      ) : permission === 'unsupported' ? (
        <p>This browser shows no notifications for this address. They need https, or localhost.</p>
      ) : (
        <>
          <p>Runwire can notify you when an approval waits for you, yours is decided, or your run has ended.</p>
          <p>
            <button type="button" data-autofocus="" onClick={() => void ask()}>
              Turn on notifications
            </button>
          </p>
        </>
      )}
      <div className="dialog-buttons">
        <button type="button" onClick={onClose}>
          Close
        </button>
      </div>
    </Dialog>
  );
}

function Choices() {
  const [chosen, change] = useTopics();
  const box = (topic: Topic, text: string, why = '') => (
    <label key={topic}>
      <input
        type="checkbox"
        checked={chosen.includes(topic)}
        onChange={({ target }) => {
          const rest = chosen.filter((one) => one !== topic);
          change(target.checked ? [...rest, topic] : rest);
        }}
      />
      <span>
        {text}
        {why !== '' && <small> {why}</small>}
      </span>
    </label>
  );
  return (
    <>
      <fieldset className="notify">
        <legend>Notify me when</legend>
        {topics.map(([topic, text]) => box(topic, text))}
      </fieldset>
      <fieldset className="notify">
        <legend>How</legend>
        {others.map(([topic, text, why]) => box(topic, text, why))}
      </fieldset>
    </>
  );
}
