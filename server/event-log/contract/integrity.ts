/**
 * Why a log does not hold from a `seq` on:
 * `payload`: what the event says is not what was logged; `row`: another column is not, or the whole was rewritten;
 * `order`: the row belongs elsewhere; `missing`: there is no row; `beginning`: the oldest row is not the one after those
 * that retention has removed; `head`: the log does not end as it says that it does; `checkpoint`: a checkpoint says
 * otherwise; `erasure`: erased without a record of it, or the other way round.
 */
export type BreakReason = 'payload' | 'row' | 'order' | 'missing' | 'beginning' | 'head' | 'checkpoint' | 'erasure';
/** `hash` is that of the row at `to`, in hexadecimal; `from` is `to + 1` for a log without events. */
export type Verdict =
  | { ok: true; from: number; to: number; hash: string; events: number; erased: number }
  | { ok: false; seq: number; reason: BreakReason };
export type VerifyOptions = {
  /** Kept checkpoints of this log, whose signatures are the caller's to check. */
  checkpoints?: readonly Pick<Checkpoint, 'seq' | 'hash'>[] | undefined;
  /** Rejects with its reason. */
  signal?: AbortSignal | undefined;
};

export type EraseRequest = {
  seq: number;
  by: string;
  reason: string;
  /** What may not be erased is answered as what is not there. */
  mayErase: (projectId: string) => boolean;
  /** Makes of a logged event what is to stand in its place. */
  tombstone: (event: object) => object;
};

export type Signed = { keyId: string; signature: string };
/** That the row at `seq` had this hash, and with it that everything before it was as it was. Made to be kept elsewhere. */
export type Checkpoint = Signed & {
  epoch: string;
  seq: number;
  hash: string;
  /** Least `seq` kept then. */
  oldest: number;
  at: string;
};

/** That the text of an event was erased, by whom and why; and what stands in its place. */
export type Erasure = Signed & {
  epoch: string;
  seq: number;
  projectId: string;
  runId: string;
  /** The hash that the chain goes on with, of the payload that is gone. Its salt is gone too. */
  payloadHash: string;
  tombstoneHash: string;
  at: string;
  by: string;
  reason: string;
  /** Set where what was erased was not what had been logged. */
  altered?: true;
};
