import { Shell } from '../../components/Shell.tsx';

export const SearchPage = () => (
  <Shell title="Search">
    <h1>Search</h1>
  </Shell>
);
