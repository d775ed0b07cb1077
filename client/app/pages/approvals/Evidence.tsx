import { Copy } from '../../components/Copy.tsx';
import { Name } from '../../components/Name.tsx';
import { formatBytes } from '../../lib/format.ts';
import { safeLinkOf } from '../../lib/links.ts';
import { type Evidence, shortHash } from './card-state.ts';

/** The evidence of an approval: each artifact with kind, size and hash, and a link that is safe to open. */
export const EvidenceList = ({ evidence }: { evidence: readonly Evidence[] }) => (
  <ul className="evidence-list">
    {evidence.map(({ artifactId, artifact }) => (
      <li key={artifactId}>
        {artifact ? (
          <>
            <Name>{artifact.name}</Name>
            {artifact.kind !== undefined && (
              <span className="soft">
                <Name>{artifact.kind}</Name>
              </span>
            )}
            {artifact.sizeBytes !== undefined && <span className="soft">{formatBytes(artifact.sizeBytes)}</span>}
            <Hash name={artifact.name} sha256={artifact.sha256} />
            <Place name={artifact.name} uri={artifact.uri} />
          </>
        ) : (
          <>
            <code>{artifactId}</code> <em>not published yet</em>
          </>
        )}
      </li>
    ))}
  </ul>
);

const Hash = ({ name, sha256 }: { name: string; sha256: string | undefined }) =>
  sha256 === undefined ? (
    <span className="soft">no hash: its content cannot be checked</span>
  ) : (
    <span className="hash-of">
      <code title={sha256}>sha256 {shortHash(sha256)}</code>
      <Copy text={sha256} what={`the SHA-256 of ${name}`} />
    </span>
  );

/** A link with its host. A URI with another scheme than http and https is a text: opening it could run a script. */
export function Place({ name, uri }: { name: string; uri: string | undefined }) {
  if (uri === undefined) return null;
  const link = safeLinkOf(uri);
  if (link) {
    return (
      <a
        href={uri}
        target="_blank"
        rel="noopener noreferrer"
        data-act="evidence"
        aria-label={`Open ${name} at ${link.host}`}
      >
        {link.host} <span aria-hidden="true">↗</span>
      </a>
    );
  }
  return (
    <span className="uri">
      <Name>{uri}</Name>
      <Copy text={uri} what={`the address of ${name}`} />
    </span>
  );
}
