import { Time } from '../../components/Time.tsx';
import { useServerNow } from '../../hooks/useNow.ts';
import { formatLeft } from './card-state.ts';

const SOON_MS = 15 * 60_000;

/** The time until an approval expires, by the server's clock. It has the waiting colour in the last 15 minutes. */
export function Expiry({ expiresAt, isShort = false }: { expiresAt: string | undefined; isShort?: boolean }) {
  const now = useServerNow(expiresAt !== undefined);
  if (expiresAt === undefined) return null;
  const leftMs = Date.parse(expiresAt) - now;
  const isSoon = leftMs < SOON_MS;
  const left = formatLeft(leftMs);
  return (
    <span className={isSoon ? 'expiry soon' : 'expiry'}>
      {isShort && !isSoon ? (
        <>
          <svg viewBox="0 0 16 16" width="12" height="12" aria-hidden="true">
            <circle cx="8" cy="9" r="5.6" fill="none" stroke="currentColor" strokeWidth="1.5" />
            <path d="M8 6v3l2 1.4M6.5 1.5h3" fill="none" stroke="currentColor" strokeWidth="1.5" />
          </svg>{' '}
          <span className="unseen">expires in </span>
          {left}
        </>
      ) : (
        `expires in ${left}`
      )}
      {!isShort && (
        <span className="soft">
          {' '}
          (<Time at={expiresAt} form="short" />)
        </span>
      )}
    </span>
  );
}
