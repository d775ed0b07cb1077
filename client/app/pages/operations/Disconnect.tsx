import { useState } from 'react';
import { useRunwire } from '../../../hooks/index.ts';
import { Dialog } from '../../components/Dialog.tsx';
import { Name } from '../../components/Name.tsx';
import { showToast } from '../../components/Toast.tsx';
import { useSession } from '../../hooks/useSession.ts';
import { type ClientRow, nameOf } from './useOrder.ts';

/** Asks whether to close a client's socket. */
export function Disconnect({ row, isLocked, onClose }: { row: ClientRow; isLocked: boolean; onClose: () => void }) {
  const { client } = useRunwire();
  const { me } = useSession();
  const [revoke, setRevoke] = useState(false);
  const [isSending, setIsSending] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  // A token may be valid in several projects, so revoking it needs the right to all.
  const canRevoke = me?.projects.includes('*') === true && row.sub !== undefined;
  const disconnect = async () => {
    setIsSending(true);
    try {
      await client.server.disconnect.mutate({ id: row.id, revoke });
      showToast(`Disconnected ${nameOf(row)}`);
      onClose();
    } catch (error) {
      setProblem((error as Error).message);
      setIsSending(false);
    }
  };
  return (
    <Dialog
      open
      onOpenChange={(open) => !open && onClose()}
      isLocked={isSending}
      title={
        <>
          Disconnect <Name>{nameOf(row)}</Name> ({row.address})?
        </>
      }
      description="It will reconnect unless its token is revoked."
    >
      <label className="revoke">
        <input
          type="checkbox"
          checked={revoke}
          disabled={!canRevoke || isSending}
          onChange={({ target }) => setRevoke(target.checked)}
        />{' '}
        and revoke its sessions
      </label>
      {row.sub !== undefined && !canRevoke && <p className="soft">Revoking needs an administrator of all projects.</p>}
      {problem !== null && <p role="alert">Could not disconnect: {problem}</p>}
      <div className="dialog-buttons">
        <button type="button" data-autofocus onClick={onClose}>
          Cancel
        </button>
        <button type="button" className="danger" disabled={isSending || isLocked} onClick={() => void disconnect()}>
          {isSending ? 'Disconnecting…' : 'Disconnect'}
        </button>
      </div>
    </Dialog>
  );
}
