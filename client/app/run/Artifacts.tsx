import { useMemo, useState } from 'react';
import type { Artifact, Stage } from '../../react.tsx';
import { Copy } from '../Copy.tsx';
import { formatBytes, formatCount } from '../format.ts';
import { None } from '../Status.tsx';

/** So many are shown at first. */
const SHOWN = 50;

export function Artifacts({ artifacts, stages }: { artifacts: readonly Artifact[]; stages: readonly Stage[] }) {
  const [most, setMost] = useState(SHOWN);
  const shown = artifacts.slice(0, most);
  const names = useMemo(() => new Map(stages.map(({ stageId, name }) => [stageId, name])), [stages]);
  return (
    <section aria-labelledby="artifacts" className="artifacts">
      <div className="section-title">
        <h2 id="artifacts">
          Artifacts <small>{formatCount(artifacts.length)}</small>
        </h2>
      </div>
      <ArtifactRows artifacts={shown} names={names} caption="Artifacts" />
      {shown.length < artifacts.length && (
        <p className="more">
          <button type="button" onClick={() => setMost(most + 10 * SHOWN)}>
            Show more of {formatCount(artifacts.length)}
          </button>
        </p>
      )}
    </section>
  );
}

type RowsProps = { artifacts: readonly Artifact[]; names?: ReadonlyMap<string, string>; caption: string };

/** With `names`, tells the stage of each. */
export const ArtifactRows = ({ artifacts, names, caption }: RowsProps) => (
  <div className="table-box">
    <table>
      <caption className="unseen">{caption}</caption>
      <thead>
        <tr>
          <th scope="col">Name</th>
          <th scope="col" className="kind">
            Kind
          </th>
          {names && (
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
        {artifacts.map(({ artifactId, name, kind, uri, sizeBytes, stageId, sha256 }) => (
          <tr key={artifactId}>
            <th scope="row">
              {isSafeLink(uri) ? (
                <a href={uri} target="_blank" rel="noreferrer noopener">
                  {name}
                </a>
              ) : (
                name
              )}
              {uri !== undefined && !isSafeLink(uri) && <span className="ids">{uri}</span>}
            </th>
            <td className="kind">{kind ?? <None />}</td>
            {names && (
              <td className="of-stage">{stageId === undefined ? <None /> : (names.get(stageId) ?? stageId)}</td>
            )}
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
        ))}
      </tbody>
    </table>
  </div>
);

/** Producers write these addresses: one that would run a script must not become a link. */
function isSafeLink(uri: string | undefined): uri is string {
  return uri !== undefined && URL.canParse(uri) && ['http:', 'https:'].includes(new URL(uri).protocol);
}
