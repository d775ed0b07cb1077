import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { RunwireError } from '../../../shared/errors.ts';

/**
 * Ed25519 keys of the record. One signs; those that are trusted are it and whichever public keys stand in the same file
 * after it, such as those of a key that has been replaced.
 */
export class AuditKeys {
  readonly #privateKey: KeyObject | undefined;
  readonly #trusted: ReadonlyMap<string, KeyObject>;
  readonly #first: KeyObject;

  /** Reads PEM blocks: PKCS #8 private keys, SPKI public ones. Throws `INVALID_INPUT` without quoting them. */
  constructor(pem: string) {
    const keys = (pem.match(/-----BEGIN ([A-Z ]+)-----[^-]*-----END \1-----/g) ?? []).map(keyOf);
    const [first] = keys;
    if (!first) throw notAKey();
    this.#privateKey = keys.find((key) => key.type === 'private');
    this.#first = publicOf(this.#privateKey ?? first);
    this.#trusted = new Map(keys.map((key) => [idOf(publicOf(key)), publicOf(key)]));
  }

  /** New ones, for a log in memory. */
  static make(): AuditKeys {
    return new AuditKeys(newPem());
  }

  /** Those of a file, which is made, readable by its owner alone, where there is none. */
  static inFile(path: string): AuditKeys {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    if (!existsSync(path)) makeFile(path);
    chmodSync(path, 0o600);
    return new AuditKeys(readFileSync(path, 'utf8'));
  }

  /** Of the key that signs: the beginning of the SHA-256 of its SPKI, in hex. */
  get keyId(): string {
    return idOf(this.#first);
  }
  /** The same key's public half, as PEM. */
  get publicKey(): string {
    return this.#first.export({ type: 'spki', format: 'pem' }).toString();
  }

  /** Base64. Throws `INTERNAL` where there are public keys alone. */
  sign(text: string): string {
    if (!this.#privateKey) throw new RunwireError('INTERNAL', 'there is no private key to sign with');
    return sign(null, Buffer.from(text), this.#privateKey).toString('base64');
  }

  hasSigned(text: string, keyId: string, signature: string): boolean {
    const key = this.#trusted.get(keyId);
    return (
      key !== undefined &&
      typeof signature === 'string' &&
      verify(null, Buffer.from(text), key, Buffer.from(signature, 'base64'))
    );
  }
}

const newPem = (): string =>
  generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();

/** Whole or not at all, whatever happens meanwhile: what is signed with a key is worth nothing without it. */
function makeFile(path: string): void {
  const temporary = `${path}.${process.pid}`;
  const file = openSync(temporary, 'w', 0o600);
  try {
    writeSync(file, newPem());
    fsyncSync(file);
    linkSync(temporary, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    closeSync(file);
    unlinkSync(temporary);
  }
}

function keyOf(pem: string): KeyObject {
  try {
    const key = pem.includes('PRIVATE') ? createPrivateKey(pem) : createPublicKey(pem);
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch {
    // What OpenSSL says is of no help.
  }
  throw notAKey();
}

const publicOf = (key: KeyObject): KeyObject => (key.type === 'private' ? createPublicKey(key) : key);
const idOf = (key: KeyObject): string =>
  createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('hex')
    .slice(0, 16);
const notAKey = () => new RunwireError('INVALID_INPUT', 'the key file holds no Ed25519 key in PEM');
