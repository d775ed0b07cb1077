import { Name } from '../../components/Name.tsx';

/** What the log has in place of a required text that was erased. */
const ERASED = '[erased]';

/** A text of an approval. Of an erased one the decision and the ids stay. */
export const Words = ({ children }: { children: string }) =>
  children === ERASED ? (
    <em className="soft" title="The text was erased. The audit of the run states by which user and why.">
      {ERASED}
    </em>
  ) : (
    <Name>{children}</Name>
  );
