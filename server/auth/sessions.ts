import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { RunwireError } from '../../shared/errors.ts';
import type { SessionStore, StoredSession } from '../event-log/contract/sessions.ts';
import type { Credentials } from './credentials.ts';
import type { OidcUser } from './oidc-claims.ts';
import type { Principal } from './principal.ts';
import type { Sealer } from './sealer.ts';

/**
 * The sessions of browsers that have signed in at the identity provider. The cookie holds a random secret; the user, its rights
 * and the provider's refresh token stay in the server: in memory, and sealed in the store, so that they outlive a restart.
 *
 * 1. `begin` makes a session after a sign-in, with a new secret. A session that the browser had before ends; if it was of the
 *    same user, the new one has its id for revocations, and its open sockets go on.
 * 2. `renewed` moves its expiry, with the rights that the provider states now. The secret stays the same, so requests of
 *    other tabs that are under way are valid.
 * 3. An expired session can be renewed until `endsAtMs`. No request is done for it meanwhile.
 * 4. `end` deletes it, and revokes its id: its open sockets and streams end.
 *
 * Rejected: a signed token in the cookie. Browsers drop a cookie of more than 4 KiB, which a user of many projects exceeds.
 */

export type Session = {
  /** Digest of the secret. */
  id: string;
  /** Id of the principal (`jti`), with which a revocation ends the session. */
  jti: string;
  user: OidcUser;
  refreshToken?: string | undefined;
  /** When the user signed in; Unix ms. A revocation of the user after it ends the session. */
  signedInAtMs: number;
  /** When the rights were last stated by the provider; Unix ms. */
  renewedAtMs: number;
  /** Until when they are valid; Unix ms. */
  expiresAtMs: number;
  /** When the session ends, however often it is renewed; Unix ms. */
  endsAtMs: number;
};

/** What the provider has stated at a sign-in or a renewal. */
export type Grant = { user: OidcUser; refreshToken?: string | undefined; lifeMs: number };

/** As long as any cookie of the web app. */
export const MAX_SESSION_MS = 24 * 3_600_000;
/** The oldest sessions of a user, and of all users, give way. */
const MAX_OF_USER = 50;
const MAX_SESSIONS = 20_000;
const PREFIX = 'rws_';
const JTI_PREFIX = 'session:';

/** Whether the principal with this `jti` has signed in at the provider. */
export const isSessionJti = (jti: string | undefined): boolean => jti?.startsWith(JTI_PREFIX) === true;
export const isSessionSecret = (token: string): boolean => token.startsWith(PREFIX);

export class Sessions {
  readonly #store: SessionStore;
  readonly #sealer: Sealer;
  /** In the order of their sign-ins. */
  readonly #byId = new Map<string, Session>();
  /** Number of times that another node has changed sessions. */
  #changes = 0;
  /** The value of `#changes` at which a session was read; those with a lower one may have another state by now. */
  readonly #readAt = new WeakMap<Session, number>();
  /** Sessions that this node writes now: the store has not their present state yet. */
  readonly #writing = new Set<string>();

  /** Resolves once the stored sessions are loaded. Sessions of another provider or client cannot be opened, and are deleted. */
  static async open(store: SessionStore, sealer: Sealer): Promise<Sessions> {
    const sessions = new Sessions(store, sealer);
    store.onChange(() => {
      sessions.#changes++;
    });
    const over: string[] = [];
    const opened: Session[] = [];
    for (const { id, sealed, endsAtMs } of await store.all()) {
      const session = sessions.#opened({ id, sealed, endsAtMs });
      if (session) opened.push(session);
      else over.push(id);
    }
    for (const session of opened.sort((a, b) => a.signedInAtMs - b.signedInAtMs)) sessions.#keep(session);
    await store.remove(over);
    return sessions;
  }

  private constructor(store: SessionStore, sealer: Sealer) {
    this.#store = store;
    this.#sealer = sealer;
  }

  get count(): number {
    return this.#byId.size;
  }

  /** Returns the session of a cookie, also an expired one; undefined if there is none. */
  async find(secret: string): Promise<Session | undefined> {
    return isSessionSecret(secret) ? this.get(idOf(secret)) : undefined;
  }

  /** Asks the store about a session that this node does not know, or that another node may have changed. */
  async get(id: string): Promise<Session | undefined> {
    const known = this.#byId.get(id);
    const isPresent = known !== undefined && this.#readAt.get(known) === this.#changes;
    if (!isPresent && !this.#writing.has(id)) await this.#refresh(id);
    const session = this.#byId.get(id);
    return session && session.endsAtMs > Date.now() ? session : undefined;
  }

  /** Returns the principal of a cookie. Throws `UNAUTHENTICATED`. */
  async authenticate(secret: string): Promise<Principal> {
    const session = await this.find(secret);
    if (!session) throw new RunwireError('UNAUTHENTICATED', 'the session has ended');
    return principalOf(session);
  }

  /** Resolves with the secret for the cookie, and the session, once it is stored. */
  async begin(grant: Grant, credentials: Credentials, former?: Session): Promise<{ secret: string; session: Session }> {
    await this.#makeRoom(grant.user.sub, credentials);
    const isSameUser = former?.user.sub === grant.user.sub;
    const isKept = former && isSameUser && credentials.invalidReasonOf(principalOf(former)) !== 'revoked';
    const jti = isKept ? former.jti : JTI_PREFIX + randomUUID();
    const secret = PREFIX + randomBytes(32).toString('base64url');
    const nowMs = Date.now();
    const endsAtMs = nowMs + MAX_SESSION_MS;
    const session = { id: idOf(secret), jti, signedInAtMs: nowMs, endsAtMs, ...stated(grant, nowMs, endsAtMs) };
    await this.#put(session);
    if (former && isKept) await this.#remove(former);
    else if (former) await this.end(former, credentials);
    return { secret, session };
  }

  /** Resolves with the renewed session once it is stored; undefined if it has ended meanwhile. */
  async renewed(id: string, grant: Grant): Promise<Session | undefined> {
    const before = this.#byId.get(id);
    if (!before) return undefined;
    const nowMs = Date.now();
    // A provider that does not rotate refresh tokens states none.
    const refreshToken = grant.refreshToken ?? before.refreshToken;
    const session = { ...before, ...stated({ ...grant, refreshToken }, nowMs, before.endsAtMs) };
    await this.#put(session);
    return session;
  }

  /** Ends a session everywhere. Resolves once that is durable. */
  async end(session: Session, credentials: Credentials): Promise<void> {
    const { jti, expiresAtMs: untilMs } = this.#byId.get(session.id) ?? session;
    if (!this.#byId.has(session.id)) return;
    const removed = this.#remove(session);
    if (untilMs > Date.now()) await credentials.revoke({ jti, untilMs });
    await removed;
  }

  async #remove({ id }: Session): Promise<void> {
    this.#byId.delete(id);
    await this.#write(id, () => this.#store.remove([id]));
  }

  async #put(session: Session): Promise<void> {
    const { id, ...rest } = session;
    this.#keep(session);
    const sealed = this.#sealer.seal(JSON.stringify(rest));
    await this.#write(id, () => this.#store.put({ id, sealed, endsAtMs: session.endsAtMs }));
    // A sign-out while the store wrote.
    if (!this.#byId.has(id)) await this.#store.remove([id]);
  }

  async #write(id: string, write: () => Promise<void>): Promise<void> {
    this.#writing.add(id);
    try {
      await write();
    } finally {
      this.#writing.delete(id);
    }
  }

  async #refresh(id: string): Promise<void> {
    const changes = this.#changes;
    const known = this.#byId.get(id);
    const stored = await this.#store.get(id);
    // This node has written it meanwhile.
    if (this.#byId.get(id) !== known || this.#writing.has(id)) return;
    const session = stored && this.#opened(stored);
    if (session) this.#keep(session, changes);
    else this.#byId.delete(id);
  }

  #keep(session: Session, changes = this.#changes): void {
    this.#byId.set(session.id, session);
    this.#readAt.set(session, changes);
  }

  /** Returns a stored session; undefined if it is over, or sealed for another provider. */
  #opened({ id, sealed, endsAtMs }: StoredSession): Session | undefined {
    const text = endsAtMs > Date.now() ? this.#sealer.open(sealed) : undefined;
    return text === undefined ? undefined : { ...JSON.parse(text), id };
  }

  async #makeRoom(sub: string, credentials: Credentials): Promise<void> {
    // Deleted in one write, as these may be all sessions of the day before. They have expired, so nothing is revoked.
    const over = [...this.#byId.values()].filter(({ endsAtMs }) => endsAtMs <= Date.now()).map(({ id }) => id);
    for (const id of over) this.#byId.delete(id);
    await this.#store.remove(over);
    const ofUser = [...this.#byId.values()].filter(({ user }) => user.sub === sub);
    const most = ofUser.slice(0, Math.max(0, ofUser.length + 1 - MAX_OF_USER));
    const all = [...this.#byId.values()].slice(0, Math.max(0, this.#byId.size + 1 - MAX_SESSIONS));
    for (const session of new Set([...most, ...all])) await this.end(session, credentials);
  }
}

function stated({ user, refreshToken, lifeMs }: Grant, nowMs: number, endsAtMs: number) {
  return { user, refreshToken, renewedAtMs: nowMs, expiresAtMs: Math.min(nowMs + lifeMs, endsAtMs) };
}

export function principalOf({ jti, user, signedInAtMs, expiresAtMs }: Session): Principal {
  return { ...user, jti, issuedAtMs: signedInAtMs, expiresAtMs };
}

const idOf = (secret: string): string => createHash('sha256').update(secret).digest('base64url');
