import { Name } from './Name.tsx';

/** The id of a project as text for readers: `airflow prod` for `airflow%20prod`, as some producers name their projects. */
export function decodedName(projectId: string): string {
  try {
    return decodeURIComponent(projectId);
  } catch {
    return projectId; // A `%` in it encodes nothing.
  }
}

export const ProjectName = ({ projectId }: { projectId: string }) => (
  <Name title={projectId}>{decodedName(projectId)}</Name>
);
