import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import {
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { RunwireError } from '../../../shared/errors.ts';
import { makePrivate } from '../private-file.ts';

/**
 * The Ed25519 keys of the log, from one file. The private key signs. A signature by any key of the file is valid: an
 * operator that replaces the private key keeps the old public key in the file.
 */
export class AuditKeys {
  /** The first one signs. */
  readonly #privateKeys: readonly KeyObject[];
  readonly #trusted: ReadonlyMap<string, KeyObject>;
  readonly #first: KeyObject;

  /** Reads keys in PEM: PKCS #8 private keys and SPKI public keys. Throws `INVALID_INPUT`, without quoting the text. */
  constructor(pem: string) {
    const keys = (pem.match(/-----BEGIN ([A-Z ]+)-----[^-]*-----END \1-----/g) ?? []).map(keyOf);
    const [first] = keys;
    if (!first) throw notAKey();
    this.#privateKeys = keys.filter((key) => key.type === 'private');
    this.#first = publicOf(this.#privateKeys[0] ?? first);
    this.#trusted = new Map(keys.map((key) => [idOf(publicOf(key)), publicOf(key)]));
  }

  /** Generates a key, for a log in memory. */
  static make(): AuditKeys {
    return new AuditKeys(AuditKeys.newPem());
  }

  static newPem(): string {
    return generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  }

  /** Reads the keys from a text: the keys in PEM, or the path of a file with them. Throws `INVALID_INPUT`. */
  static inText(text: string): AuditKeys {
    // Files of environment variables hold a key of several lines as one line.
    if (text.includes('-----BEGIN')) return new AuditKeys(text.replaceAll('\\n', '\n'));
    let pem: string;
    try {
      pem = readFileSync(text, 'utf8');
    } catch {
      throw new RunwireError('INVALID_INPUT', 'AUDIT_KEY is neither PEM nor the path of a readable file');
    }
    return new AuditKeys(pem);
  }

  /** Reads the keys from a file. If the file is missing, creates it with a new key and mode 0600. */
  static inFile(path: string): AuditKeys {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    if (!existsSync(path)) makeFile(path);
    makePrivate(path);
    return new AuditKeys(readFileSync(path, 'utf8'));
  }

  /** Whether there is a private key. */
  get canSign(): boolean {
    return this.#privateKeys.length > 0;
  }

  /** Whether a signature of the key with this id is valid. */
  trusts(keyId: string): boolean {
    return this.#trusted.has(keyId);
  }

  /**
   * Returns a secret of 32 bytes for each private key, in hexadecimal: a function of the key and of `salt`. It does not
   * reveal the key.
   */
  secretsOf(salt: string): string[] {
    return this.#privateKeys.map((key) => {
      const bytes = key.export({ type: 'pkcs8', format: 'der' });
      return Buffer.from(hkdfSync('sha256', bytes, salt, 'runwire ids v1', 32)).toString('hex');
    });
  }

  /** Id of the signing key: the first 16 hex digits of the SHA-256 of its public key (SPKI). */
  get keyId(): string {
    return idOf(this.#first);
  }
  /** Public half of the signing key, as PEM. */
  get publicKey(): string {
    return pemOf(this.#first);
  }

  /** Public halves of all keys of the file, as PEM. */
  get publicKeys(): string {
    return [...this.#trusted.values()].map(pemOf).join('');
  }

  /** Adds the public keys that the file does not have yet, whole or not at all. Returns their ids. */
  trustInFile(path: string, publicKeys: string): string[] {
    const added = [...new AuditKeys(publicKeys).#trusted].filter(([id]) => !this.#trusted.has(id));
    if (added.length === 0) return [];
    const temporary = `${path}.${process.pid}`;
    const file = openSync(temporary, 'w', 0o600);
    writeSync(file, [`${readFileSync(path, 'utf8').trimEnd()}\n`, ...added.map(([, key]) => pemOf(key))].join(''));
    fsyncSync(file);
    closeSync(file);
    renameSync(temporary, path);
    return added.map(([id]) => id);
  }

  /** Returns the signature in base64. Throws `INTERNAL` without a private key. */
  sign(text: string): string {
    const [key] = this.#privateKeys;
    if (!key) throw new RunwireError('INTERNAL', 'no private key to sign with');
    return sign(null, Buffer.from(text), key).toString('base64');
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

/**
 * Creates the file with its full content or not at all, even on a crash: without its key, a signature is worthless. If
 * another process has created the file first (`EEXIST`), that file stays.
 */
function makeFile(path: string): void {
  const temporary = `${path}.${process.pid}`;
  const file = openSync(temporary, 'w', 0o600);
  try {
    writeSync(file, AuditKeys.newPem());
    fsyncSync(file);
    try {
      linkSync(temporary, path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw error;
      // The file system has no hard links. Here, a crash may leave a part of the file, which the next start refuses.
      copyFileSync(temporary, path, constants.COPYFILE_EXCL);
    }
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
    // The text is not a valid key. OpenSSL's message is discarded, because it does not help the operator.
  }
  throw notAKey();
}

const pemOf = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }).toString();
const publicOf = (key: KeyObject): KeyObject => (key.type === 'private' ? createPublicKey(key) : key);
const idOf = (key: KeyObject): string =>
  createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('hex')
    .slice(0, 16);
const notAKey = () => new RunwireError('INVALID_INPUT', 'the key file must contain an Ed25519 key in PEM');
