import { memo, useState } from 'react';
import type { Artifact, Stage } from '../../../hooks/index.ts';
import { Copy } from '../../components/Copy.tsx';
import { Name } from '../../components/Name.tsx';
import { None } from '../../components/Status.tsx';
import { TableBox } from '../../components/TableBox.tsx';
import { formatBytes, formatCount } from '../../lib/format.ts';
import { StageNames } from './stage-names.ts';

/** Number of rows before the user asks for more. */
const INITIAL_ROWS = 50;

export function Artifacts({ artifacts, stages }: { artifacts: readonly Artifact[]; stages: readonly Stage[] }) {
  const [limit, setLimit] = useState(INITIAL_ROWS);
  const shown = artifacts.slice(0, limit);
  const [names] = useState(() => new StageNames());
  return (
    <section aria-labelledby="artifacts" className="artifacts">
      <div className="section-title">
        <h2 id="artifacts">
          Artifacts <small>{formatCount(artifacts.length)}</small>
        </h2>
      </div>
      <ArtifactRows artifacts={shown} nameOf={(stageId) => names.of(stages, stageId)} caption="Artifacts" />
      {shown.length < artifacts.length && (
        <p className="more">
          <button type="button" onClick={() => setLimit(limit + 10 * INITIAL_ROWS)}>
            Show more of {formatCount(artifacts.length)}
          </button>
        </p>
      )}
    </section>
  );
}

type RowsProps = { artifacts: readonly Artifact[]; nameOf?: (stageId: string) => string; caption: string };

/** With `nameOf`, the table has a column for the stage. */
export const ArtifactRows = ({ artifacts, nameOf, caption }: RowsProps) => (
  <TableBox>
    <table>
      <caption className="unseen">{caption}</caption>
      <thead>
        <tr>
          <th scope="col">Name</th>
          <th scope="col" className="kind">
            Kind
          </th>
          {nameOf && (
            <th scope="col" className="of-stage">
              Stage
            </th>
          )}
          <th scope="col" className="number">
            Size
          </th>
          <th scope="col">SHA-256</th>
        </tr>
      </thead>
      <tbody>
        {artifacts.map((artifact) => (
          <Row
            key={artifact.artifactId}
            artifact={artifact}
            stageName={nameOf && (artifact.stageId === undefined ? null : nameOf(artifact.stageId))}
          />
        ))}
      </tbody>
    </table>
  </TableBox>
);

/** `stageName` is null if the artifact has no stage, and undefined if the table has no column for the stage. */
type RowProps = { artifact: Artifact; stageName: string | null | undefined };

// Memoised: otherwise each event of the run would render all rows.
const Row = memo(function Row({ artifact, stageName }: RowProps) {
  const { name, kind, uri, sizeBytes, sha256 } = artifact;
  return (
    <tr>
      <th scope="row">
        <ArtifactName name={name} uri={uri} />
        {uri !== undefined && <span className="ids">{isSafeLink(uri) ? `${new URL(uri).host} ↗` : uri}</span>}
      </th>
      <td className="kind">{kind ?? <None />}</td>
      {stageName !== undefined && <td className="of-stage">{stageName ?? <None />}</td>}
      <td className="number">{sizeBytes === undefined ? <None /> : formatBytes(sizeBytes)}</td>
      <td className="hash">
        {sha256 === undefined ? (
          <None />
        ) : (
          <>
            <code title={sha256}>{sha256.slice(0, 12)}…</code>
            <Copy text={sha256} what={`the SHA-256 of ${name}`} />
          </>
        )}
      </td>
    </tr>
  );
});

/** The name of an artifact. The name is a link if the artifact's URI is safe to open. */
export function ArtifactName({ name, uri }: Pick<Artifact, 'name' | 'uri'>) {
  if (!isSafeLink(uri)) return <Name>{name}</Name>;
  return (
    <a href={uri} target="_blank" rel="noreferrer noopener">
      <Name>{name}</Name>
    </a>
  );
}

/** Returns whether a URI may become a link. A producer sets the URI, and a `javascript:` URI would run a script. */
function isSafeLink(uri: string | undefined): uri is string {
  return uri !== undefined && URL.canParse(uri) && ['http:', 'https:'].includes(new URL(uri).protocol);
}
