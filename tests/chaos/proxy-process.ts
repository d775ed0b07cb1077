import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Fault } from './plan.ts';
import { FaultProxy } from './proxy.ts';
import { Dice } from './random.ts';

/**
 * Fault proxies in a process of their own: the readers of a round keep the event loop of its process busy, which would slow
 * the connections between other processes.
 */
export class ProxyProcess {
  readonly ports: readonly number[];
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, ports: readonly number[]) {
    this.#child = child;
    this.ports = ports;
  }

  /** Opens a proxy for each target port. */
  static async start(targets: readonly number[]): Promise<ProxyProcess> {
    const child = fork(fileURLToPath(import.meta.url), targets.map(String), { execArgv: ['--import', 'tsx'] });
    const [ports] = (await Promise.race([once(child, 'message'), once(child, 'exit')])) as [unknown];
    if (!Array.isArray(ports)) throw new Error('the proxies did not start');
    return new ProxyProcess(child, ports);
  }

  /** Applies a fault to all connections of a proxy, given by its place among the targets. */
  apply(at: number, fault: Fault): void {
    this.#child.send({ at, fault });
  }

  async stop(): Promise<void> {
    this.#child.disconnect();
    await once(this.#child, 'exit');
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const targets = process.argv.slice(2).map(Number);
  const proxies = await Promise.all(targets.map((target) => FaultProxy.open(target, new Dice(target))));
  process.on('message', ({ at, fault }: { at: number; fault: Fault }) => proxies[at]?.apply(fault, 1));
  process.once('disconnect', () => process.exit(0));
  process.send?.(proxies.map(({ port }) => port));
}
