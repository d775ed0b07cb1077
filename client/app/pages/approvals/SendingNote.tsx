import { codeOf } from '../../lib/errors.ts';
import type { Sending } from './useDecision.ts';

/** What became of a decision that was sent. `isPhi`: the refusal is shown elsewhere in the dialog. */
export function Progress({ sending, onVerify, isPhi }: { sending: Sending; onVerify: () => void; isPhi: boolean }) {
  switch (sending.is) {
    case 'probing':
      return <p role="status">Checking the connection…</p>;
    case 'unanswered':
      return (
        <p role="status" className="lock">
          <span>No answer yet. Your decision may or may not have arrived.</span>
          <button type="button" disabled={sending.isChecking} onClick={onVerify}>
            {sending.isChecking ? 'Checking…' : 'Check'}
          </button>
        </p>
      );
    case 'not recorded':
      return <p role="status">Your decision has not arrived. You can send it again.</p>;
    case 'refused':
      return isPhi ? null : (
        <p role="alert" className="lock">
          {refusalOf(codeOf(sending.error), sending.error.message)}
        </p>
      );
    default:
      return null;
  }
}

function refusalOf(code: string | undefined, message: string): string {
  if (code === 'RATE_LIMITED' || code === 'UNAVAILABLE') return 'The server is busy. Nothing was recorded. Try again.';
  if (code === 'UNAUTHENTICATED')
    return 'You are signed out. Nothing was recorded. Your text is kept until you sign in.';
  return `Nothing was recorded: ${message}`;
}
