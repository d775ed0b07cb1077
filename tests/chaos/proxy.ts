import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises';
import type { Fault } from './plan.ts';
import type { Dice } from './random.ts';

/** A TCP proxy between clients and the server that injects network faults. */

/** The treatment of the bytes of a link. */
type Air = {
  isStalled: { up: boolean; down: boolean };
  /** Maximum bytes per write. */
  pieceBytes: number;
  bytesPerSecond: number;
};
const clear = (): Air => ({
  isStalled: { up: false, down: false },
  pieceBytes: Number.POSITIVE_INFINITY,
  bytesPerSecond: Number.POSITIVE_INFINITY,
});

class Link {
  readonly near: Socket;
  far: Socket | undefined;
  air: Air;
  /** One side was disconnected without a notice to the other. */
  isOneSided = false;
  #waiting: (() => void)[] = [];

  constructor(near: Socket, air: Air) {
    this.near = near;
    this.air = air;
  }

  join(port: number): void {
    const far = connect({ port, host: '127.0.0.1', noDelay: true });
    this.far = far;
    far.on('error', () => undefined);
    void this.#forward(this.near, far, 'up');
    void this.#forward(far, this.near, 'down');
  }

  set(air: Air): void {
    this.air = air;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }

  destroy(): void {
    this.near.destroy();
    this.far?.destroy();
    this.set(this.air);
  }

  async #forward(from: Socket, to: Socket, direction: 'up' | 'down'): Promise<void> {
    try {
      for await (const chunk of from as AsyncIterable<Buffer>) {
        for (let at = 0; at < chunk.length; ) {
          while (this.air.isStalled[direction] && !to.destroyed) {
            await new Promise<void>((resolve) => this.#waiting.push(resolve));
          }
          const { pieceBytes, bytesPerSecond } = this.air;
          const piece = chunk.subarray(at, at + Math.min(pieceBytes, Math.max(1, bytesPerSecond / 50)));
          at += piece.length;
          if (to.destroyed) return;
          if (!to.write(piece)) await Promise.race([once(to, 'drain'), once(to, 'close')]);
          if (Number.isFinite(bytesPerSecond)) await delay((piece.length / bytesPerSecond) * 1_000);
          else if (Number.isFinite(pieceBytes)) await turn();
        }
      }
      to.end();
    } catch {
      // The client disconnected.
    } finally {
      if (from.destroyed && !this.isOneSided) this.destroy();
    }
  }
}

export class FaultProxy implements AsyncDisposable {
  readonly #links = new Set<Link>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #dice: Dice;
  readonly #target: number;
  readonly #server: Server;
  /** Links opened so far. */
  opened = 0;
  /** Treatment of new links. */
  #air = clear();
  #isHalfOpen = false;

  private constructor(target: number, dice: Dice) {
    this.#target = target;
    this.#dice = dice;
    this.#server = createServer({ noDelay: true }, (near) => this.#accept(near));
  }

  static async open(target: number, dice: Dice): Promise<FaultProxy> {
    const proxy = new FaultProxy(target, dice);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  /** Applies a fault to a share of the open links, and to links opened while the fault lasts. */
  apply(fault: Fault, share: number): void {
    const hit = [...this.#links].filter(() => this.#dice.chance(share));
    switch (fault.kind) {
      case 'cut':
        for (const link of hit) link.destroy();
        return;
      case 'half-open':
        this.#isHalfOpen = true;
        this.#after(fault.ms, () => this.#endHalfOpen());
        return;
      case 'one-sided':
        for (const link of hit) this.#cutOneSide(link, fault.side, fault.ms);
        return;
      case 'stall':
        this.#blow({ ...clear(), isStalled: stalled(fault.direction) }, hit, fault.ms);
        return;
      case 'fragment':
        this.#blow({ ...clear(), pieceBytes: fault.bytes }, hit, fault.ms);
        return;
      case 'slow':
        this.#blow({ ...clear(), bytesPerSecond: fault.bytesPerSecond }, hit, fault.ms);
    }
  }

  /** Ends all faults. */
  clear(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#air = clear();
    this.#endHalfOpen();
    for (const link of this.#links) {
      if (link.isOneSided) link.destroy();
      else link.set(clear());
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.clear();
    for (const link of this.#links) link.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(near: Socket): void {
    const link = new Link(near, this.#air);
    this.opened++;
    this.#links.add(link);
    near.on('error', () => undefined);
    near.on('close', () => {
      if (!link.isOneSided) this.#links.delete(link);
    });
    if (this.#isHalfOpen) near.resume();
    else link.join(this.#target);
  }

  #endHalfOpen(): void {
    this.#isHalfOpen = false;
    for (const link of this.#links) if (!link.far) link.destroy();
  }

  /** The other side keeps its open socket. */
  #cutOneSide(link: Link, side: 'client' | 'server', ms: number): void {
    if (!link.far) return;
    link.isOneSided = true;
    (side === 'client' ? link.near : link.far).destroy();
    (side === 'client' ? link.far : link.near).resume();
    this.#after(ms, () => {
      link.destroy();
      this.#links.delete(link);
    });
  }

  #blow(air: Air, hit: Link[], ms: number): void {
    this.#air = air;
    for (const link of hit) link.set(air);
    this.#after(ms, () => {
      if (this.#air === air) this.#air = clear();
      for (const link of this.#links) if (link.air === air) link.set(clear());
    });
  }

  #after(ms: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, ms);
    this.#timers.add(timer);
  }
}

const stalled = (direction: 'up' | 'down' | 'both') => ({ up: direction !== 'down', down: direction !== 'up' });
