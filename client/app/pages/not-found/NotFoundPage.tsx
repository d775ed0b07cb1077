import { Notice } from '../../components/Notice.tsx';
import { Shell } from '../../components/Shell.tsx';
import { Link } from '../../lib/navigation.tsx';

export const NotFoundPage = () => (
  <Shell title="Page not found">
    <Notice title="Page not found">
      <p>
        Check the address, or <Link href="/">go to Runs</Link>.
      </p>
    </Notice>
  </Shell>
);
