import { closeSync, fdatasync, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import type { Problem } from '../../health.ts';
import { SLICE_MS } from '../../slices.ts';

/**
 * The WAL of a database file, and the waits for the disk. While all works, none of them holds the event loop for long.
 *
 * - A commit of events writes into the WAL through the cache of the operating system. An fsync then makes it durable: in the
 *   event loop while the disk is fast, otherwise in a thread of Node.js, which costs 35 µs of CPU and a turn of the loop.
 * - A worker copies the frames of the WAL into the database file: a checkpoint. Commits go on meanwhile, and add frames.
 *   The worker copies those while further writes wait. Without a frame left to copy, SQLite begins the WAL again.
 * - If the worker fails, the event loop copies before the next write: otherwise the WAL would grow without a bound.
 *
 * Rejected: SQLite's automatic checkpoint. It runs inside a COMMIT, and takes 20 to 50 ms.
 */

/** A frame is a page. At 4 KiB each, the WAL has 16 MB when it is copied. */
const MAX_FRAMES = 4_000;
/** Frames after which a copy that has left some is made again. */
const RETRY_FRAMES = 500;
/** After a wait for the disk that took longer than a slice, the next ones are done in another thread for this time. */
const SLOW_MS = 1_000;
/** The time doubles with each try that took longer than a slice too, up to this: each holds the event loop. */
const MAX_SLOW_MS = 60_000;
/** Time after a failure of the worker until its next try. */
const RETRY_MS = 60_000;
/** Events between two looks at the WAL. */
const LOOK_EVENTS = 200;

/** The worker has a connection of its own. It answers with the number of copied frames, -1 if another process copies, or the error. */
const CHECKPOINTER = `
  const { parentPort, workerData } = require('node:worker_threads');
  const { DatabaseSync } = require(workerData.driver);
  const db = new DatabaseSync(workerData.path);
  const checkpoint = db.prepare('PRAGMA wal_checkpoint(PASSIVE)');
  parentPort.on('message', (isOpen) => {
    if (!isOpen) {
      db.close();
      parentPort.close();
      return;
    }
    try {
      parentPort.postMessage({ copied: checkpoint.get().checkpointed });
    } catch ({ message, errcode }) {
      parentPort.postMessage({ error: { message, errcode } });
    }
  });
`;

/**
 * `due`: the worker has copied, and the frames that commits have added meanwhile are left. `finishing`: it copies those.
 * `failed`: the worker has failed, and the event loop has not copied yet.
 */
type State = 'idle' | 'copying' | 'due' | 'finishing' | 'failed';

export type WalParts = {
  /** Path of the database file, without symbolic links: SQLite puts the WAL beside it. */
  path: string;
  /** Copies in the event loop. Returns the number of copied frames, or -1 if another process copies. */
  checkpoint: () => number;
  onFailure: (error: unknown) => void;
  /** The module that the worker loads. */
  driver: string;
};

export class Wal {
  readonly #parts: WalParts;
  #state: State = 'idle';
  /** Frames from which the worker copies. */
  #limit = MAX_FRAMES;
  #eventsSinceLook = 0;
  /** Whether commits add frames faster than the worker copies. */
  #isLate = false;
  #slowUntil = 0;
  #slowMs = SLOW_MS;
  #worker: Worker | undefined;
  #descriptor: number | undefined;
  #syncing: Promise<void> | undefined;
  #isClosed = false;
  #problem: Problem | undefined;
  /** While there is a problem, the worker is tried again at this time, however short the WAL is. */
  #retryAt = 0;
  /** Resolves at the end of the present copy; undefined if nobody waits. */
  #waiting: Promise<void> | undefined;
  #resume: () => void = () => undefined;

  constructor(parts: WalParts) {
    this.#parts = parts;
  }

  /** What keeps the worker from copying; undefined since it has copied. */
  get problem(): Problem | undefined {
    return this.#problem;
  }

  /** Makes durable what is in the WAL. `error`: undefined if it is durable. MUST NOT be called again before `done`. */
  sync(done: (error?: unknown) => void): void {
    this.#syncing = new Promise((ended) => {
      const end = (error: unknown) => {
        this.#syncing = undefined;
        if (error) this.#closeFile(); // The next call opens it again.
        ended();
        done(error ?? undefined);
      };
      try {
        fdatasync(this.#file(), end);
      } catch (error) {
        setImmediate(end, error);
      }
    });
  }

  /** As {@link sync}, but holds the event loop. Returns the error. */
  syncNow(): unknown {
    const begun = performance.now();
    try {
      fdatasyncSync(this.#file());
    } catch (error) {
      this.#closeFile();
      return error;
    }
    const now = performance.now();
    const isSlow = now - begun > SLICE_MS;
    if (isSlow) this.#slowUntil = now + this.#slowMs;
    this.#slowMs = isSlow ? Math.min(2 * this.#slowMs, MAX_SLOW_MS) : SLOW_MS;
    return undefined;
  }

  /**
   * Writes again what the WAL has, in steps. Call it at once after an fsync that failed: Linux takes the pages for written and
   * may drop them, and only a write lets the next fsync write them. MUST run inside a transaction that keeps other writers away.
   */
  *rewrite(): Generator<undefined, void> {
    const { size } = fstatSync(this.#file());
    for (let at = 0; at < size; ) {
      at += writeSync(this.#file(), this.#read(at, Math.min(REWRITE_BYTES, size - at)), undefined, undefined, at);
      yield;
    }
  }

  /** Whether the disk takes less than a slice, so that the event loop may wait for it. */
  get isFast(): boolean {
    return this.#state === 'idle' && performance.now() >= this.#slowUntil;
  }

  /** Call after each commit. */
  written(events: number): void {
    this.#eventsSinceLook += events;
    if (this.#eventsSinceLook >= LOOK_EVENTS) this.look();
  }

  /** Lets the worker copy, if the WAL is long. */
  look(): void {
    this.#eventsSinceLook = 0;
    if (this.#isClosed || (this.#state !== 'idle' && this.#state !== 'copying')) return;
    const frames = this.#frames();
    this.#isLate = this.#state === 'copying' && frames >= this.#limit + MAX_FRAMES;
    const isRetry = this.#problem !== undefined && performance.now() >= this.#retryAt;
    if (this.#state === 'copying' || (frames < this.#limit && !isRetry)) return;
    this.#state = 'copying';
    this.#copy();
  }

  /** Call before a transaction that writes. Returns a promise to wait for, or undefined if it can begin. */
  wait(): Promise<void> | undefined {
    if (this.#state === 'failed' && !this.#isClosed) this.#copyHere();
    if (this.#isClosed || this.#state === 'idle' || (this.#state === 'copying' && !this.#isLate)) return undefined;
    this.#waiting ??= new Promise((resolve) => (this.#resume = resolve));
    const waiting = this.#waiting;
    if (this.#state === 'due') {
      this.#state = 'finishing';
      this.#copy();
    }
    this.#worker?.ref(); // Without a socket, the process would end before the write.
    return waiting;
  }

  /** Resolves while no {@link sync} is in progress. */
  async synced(): Promise<void> {
    while (this.#syncing) await this.#syncing;
  }

  /** Ends the worker and its connection. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#resume();
    const worker = this.#worker;
    this.#worker = undefined;
    if (worker) {
      const ended = new Promise((resolve) => worker.once('exit', resolve));
      worker.postMessage(false);
      worker.ref();
      await ended;
    }
    await this.synced();
    this.#closeFile();
  }

  #copy(): void {
    try {
      this.#worker ??= this.#start();
      this.#worker.postMessage(true);
    } catch (error) {
      this.#failed(error); // The process has reached its limit of threads, for example.
    }
  }

  #failed(error: unknown): void {
    this.#warn(
      'the thread that copies the WAL into the database file fails: writes wait while the server copies it',
      error,
    );
    this.#end('failed');
  }

  /** Holds the event loop for 20 to 50 ms. */
  #copyHere(): void {
    let copied = -1;
    try {
      copied = this.#parts.checkpoint();
    } catch (error) {
      this.#warn('the WAL cannot be copied into the database file, and grows', error);
    }
    this.#copied(copied);
  }

  #warn(message: string, err: unknown): void {
    this.#retryAt = performance.now() + RETRY_MS;
    this.#problem = { message, path: this.#parts.path, err, isWarning: true };
  }

  #start(): Worker {
    const worker = new Worker(CHECKPOINTER, {
      eval: true,
      workerData: { driver: this.#parts.driver, path: this.#parts.path },
      execArgv: ['--no-warnings'], // `node:sqlite` of Node.js 22 warns that it is experimental.
      name: 'runwire-checkpoint',
    });
    worker.on('message', ({ copied = -1, error }: { copied?: number; error?: object }) => {
      if (this.#worker !== worker) return;
      if (error) return this.#failed(error);
      if (copied >= 0) this.#problem = undefined;
      this.#copied(copied);
    });
    let failure: unknown;
    worker.on('error', (error) => (failure = error));
    worker.on('exit', () => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      this.#failed(failure);
    });
    worker.unref(); // After `on('message')`, which refs it on Node.js 24.
    return worker;
  }

  #copied(copied: number): void {
    const frames = this.#frames();
    if (this.#state === 'copying' && copied >= 0 && copied < frames) {
      this.#end('due');
      return;
    }
    // Another process that reads the WAL, or a failure, keeps SQLite from beginning it again.
    this.#limit = copied >= frames ? MAX_FRAMES : frames + RETRY_FRAMES;
    this.#end('idle');
  }

  #end(state: State): void {
    this.#worker?.unref();
    this.#state = state;
    this.#isLate = false;
    this.#waiting = undefined;
    this.#resume();
  }

  /**
   * Number of frames since SQLite has begun the WAL. Each has the salt of the header; later ones, which were written before,
   * have another. The format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
   */
  #frames(): number {
    try {
      const header = this.#read(0, HEADER_BYTES);
      const frameBytes = FRAME_HEADER_BYTES + header.readUInt32BE(8);
      const salt = header.subarray(16, 24);
      let low = 0;
      let high = Math.floor((fstatSync(this.#file()).size - HEADER_BYTES) / frameBytes);
      while (low < high) {
        const middle = Math.ceil((low + high) / 2);
        const at = HEADER_BYTES + (middle - 1) * frameBytes;
        if (this.#read(at + 8, 8).equals(salt)) low = middle;
        else high = middle - 1;
      }
      return low;
    } catch (error) {
      this.#parts.onFailure(error);
      return 0;
    }
  }

  #read(at: number, bytes: number): Buffer {
    const buffer = Buffer.alloc(bytes);
    readSync(this.#file(), buffer, 0, bytes, at);
    return buffer;
  }

  // SQLite has no locks on the WAL, which a close would end.
  #file(): number {
    this.#descriptor ??= openSync(`${this.#parts.path}-wal`, 'r+');
    return this.#descriptor;
  }

  #closeFile(): void {
    const descriptor = this.#descriptor;
    this.#descriptor = undefined;
    if (descriptor === undefined) return;
    try {
      closeSync(descriptor);
    } catch {
      // It was closed.
    }
  }
}

/** Bytes of a step of {@link Wal.rewrite}. */
const REWRITE_BYTES = 1 << 18;
const HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
