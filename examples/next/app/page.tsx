import { StartButton } from './start-button.tsx';

export default function Page() {
  return (
    <main>
      <h1>Reports</h1>
      <StartButton />
    </main>
  );
}
