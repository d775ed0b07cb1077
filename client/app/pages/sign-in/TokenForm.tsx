import { type FormEvent, useId, useState } from 'react';
import { useRunwire } from '../../../hooks/index.ts';
import { useAccount } from '../../session/SessionProvider.tsx';

/** Signs in with a pasted token: the server stores it in the cookie. */
export function TokenForm() {
  const id = useId();
  const { isOut, switchTo } = useAccount();
  const { connection, queries, queryKey } = useRunwire();
  const [token, setToken] = useState('');
  const [problem, setProblem] = useState('');
  const [isBusy, setIsBusy] = useState(false);
  const signIn = async (event: FormEvent) => {
    event.preventDefault();
    setIsBusy(true);
    setProblem('');
    const answer = await send(token);
    setIsBusy(false);
    setProblem(answer);
    if (answer !== '') return;
    setToken('');
    if (isOut) switchTo('pasted token');
    else {
      await queries.resetQueries({ queryKey: queryKey('auth.me') });
      connection.reconnect();
    }
  };
  return (
    <form className="token" onSubmit={(event) => void signIn(event)}>
      <label htmlFor={id}>Token</label>
      <span className="row">
        <input
          id={id}
          type="password"
          autoComplete="off"
          spellCheck={false}
          required
          value={token}
          aria-describedby={problem === '' ? undefined : `${id}-problem`}
          aria-invalid={problem !== ''}
          onChange={(event) => setToken(event.target.value)}
        />
        <button type="submit" className="primary" disabled={isBusy}>
          Sign in
        </button>
      </span>
      <span id={`${id}-problem`} role="alert" className="problem">
        {problem}
      </span>
    </form>
  );
}

/** Returns what is wrong; an empty text if the token has signed in. */
async function send(token: string): Promise<string> {
  const response = await fetch('/auth/token', { method: 'POST', body: JSON.stringify({ token }) }).catch(
    () => undefined,
  );
  if (response?.ok) return '';
  if (response === undefined || response.status >= 500) return 'The server cannot check the token now. Try again.';
  if (response.status === 429) return 'Too many attempts. Wait a moment.';
  return 'This token is not valid: it is incomplete, has expired, or is of another server.';
}
