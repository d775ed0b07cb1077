import { Block } from '../search/block.ts';
import { TERMS_VERSION, termsOf } from '../search/terms.ts';
import type { Query } from './database.ts';
import { type BlockRow, seqsOf } from './search.ts';

/** Changes of the stored blocks of the index of words, each in a transaction that has locked the row `search_index`. */

export type EventRow = { seq: number; project_id: string; payload: string };

const STATEMENTS = {
  event: 'SELECT seq, project_id, payload FROM events WHERE seq = $1',
  lock: 'SELECT version FROM search_index FOR UPDATE',
  oldest: 'SELECT oldest FROM head',
  // Tombstones: small rows.
  erased: `SELECT seq, project_id, payload FROM events
    WHERE (project_id, seq) >= ($1, $2) AND (project_id, seq) <= ($1, $3) AND coalesce(octet_length(salt), 0) = 0`,
  insert: `WITH b AS (
      INSERT INTO search_blocks (project_id, first_seq, last_seq, seqs, firsts, terms_version)
      VALUES ($1, $2, $3, $4, $5, ${TERMS_VERSION}) RETURNING block
    ) INSERT INTO search_chunks (block, chunk, lines)
      SELECT b.block, c.at - 1, c.lines FROM b CROSS JOIN json_array_elements_text($6::json) WITH ORDINALITY AS c (lines, at)`,
  move: 'UPDATE search_index SET position = $1, version = version + 1',
  blockWith: `SELECT block, first_seq, last_seq, seqs, firsts FROM search_blocks
    WHERE (project_id, last_seq) >= ($1, $2) AND (project_id, last_seq) < ($1, ${Number.MAX_SAFE_INTEGER})
    ORDER BY project_id, last_seq LIMIT 1`,
  chunks: 'SELECT lines FROM search_chunks WHERE block = $1 ORDER BY chunk',
  delete: 'WITH c AS (DELETE FROM search_chunks WHERE block = $1) DELETE FROM search_blocks WHERE block = $1',
  deleteUpTo: `WITH b AS (DELETE FROM search_blocks WHERE last_seq <= $1 RETURNING block)
    DELETE FROM search_chunks c USING b WHERE c.block = b.block`,
};

/** Locks the index until the end of the transaction, and returns its version. */
export async function lockIndex(query: Query): Promise<number | undefined> {
  const [row] = await query<{ version: number }>({ text: STATEMENTS.lock });
  return row?.version;
}

/** Stores the position up to which each event is in a stored block. The feeders that have another version begin again. */
export const movePosition = (query: Query, position: number) => query({ text: STATEMENTS.move, values: [position] });

export const deleteBlocksUpTo = (query: Query, seq: number) => query({ text: STATEMENTS.deleteUpTo, values: [seq] });

export async function eventAt(query: Query, seq: number): Promise<EventRow | undefined> {
  const [row] = await query<EventRow>({ text: STATEMENTS.event, values: [seq] });
  return row;
}

/** Removes what an erasure or a trim has removed since the events of a block were read. The caller has locked the index. */
export async function refreshBlock(query: Query, block: Block): Promise<void> {
  const [row] = await query<{ oldest: number }>({ text: STATEMENTS.oldest });
  const { projectId, firstSeq, lastSeq } = block;
  const values = [projectId, firstSeq, lastSeq];
  const erased = await query<EventRow>({ text: STATEMENTS.erased, values });
  if (erased.length > 0) block.replace(new Map(erased.map(({ seq, payload }) => [seq, termsOf(payload)])));
  const oldest = row?.oldest ?? 0;
  if (firstSeq < oldest) block.drop((seq) => seq < oldest);
}

export async function insertBlock(query: Query, block: Block): Promise<void> {
  const { projectId, seqs, firstSeq, lastSeq } = block;
  const chunks = block.encode();
  const isContiguous = lastSeq - firstSeq + 1 === seqs.length;
  const firsts = JSON.stringify(chunks.map(({ first }) => first));
  const lines = JSON.stringify(chunks.map((chunk) => chunk.lines));
  const values = [projectId, firstSeq, lastSeq, isContiguous ? null : JSON.stringify(seqs), firsts, lines];
  await query({ text: STATEMENTS.insert, values });
}

/**
 * Changes the stored block that contains an event, if there is one. It gets another id, so that a search that has read its
 * row before does not find chunks of both. The caller has locked the index.
 */
export async function rewriteBlock(
  query: Query,
  projectId: string,
  seq: number,
  change: (block: Block) => void | Promise<void>,
): Promise<void> {
  const [row] = await query<BlockRow>({ text: STATEMENTS.blockWith, values: [projectId, seq] });
  if (!row || row.first_seq > seq) return;
  const chunks = await query<{ lines: string }>({ text: STATEMENTS.chunks, values: [row.block] });
  const block = Block.decode(
    projectId,
    seqsOf(row),
    chunks.map(({ lines }) => lines),
  );
  await change(block);
  await query({ text: STATEMENTS.delete, values: [row.block] });
  await insertBlock(query, block);
}
