import { useEffect, useState } from 'react';
import { announced, type Urgency } from '../lib/announce.ts';

const PAUSE_MS = 5_000;

/** The two live regions of the app. Everything that is announced goes through `announce`. */
export function LiveRegions() {
  const [texts, setTexts] = useState<{ [U in Urgency]: string }>({ polite: '', assertive: '' });
  useEffect(() => {
    let next: string | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    // A region is read when its text changes. An equal text is a change when a no-break space follows it.
    const show = (urgency: Urgency, text: string) =>
      setTexts((shown) => ({ ...shown, [urgency]: shown[urgency] === text ? `${text}\u00a0` : text }));
    const showNext = () => {
      timer = undefined;
      if (next === undefined) return;
      show('polite', next);
      next = undefined;
      timer = setTimeout(showNext, PAUSE_MS);
    };
    const stop = announced.listen(({ text, urgency }) => {
      if (urgency === 'assertive') return show(urgency, text);
      next = text;
      if (timer === undefined) showNext();
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, []);
  return (
    <>
      <div className="unseen" aria-live="polite" data-live="polite">
        {texts.polite}
      </div>
      <div className="unseen" aria-live="assertive" data-live="assertive">
        {texts.assertive}
      </div>
    </>
  );
}
