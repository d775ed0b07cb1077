import { lookup as resolve } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { RunwireError } from '../../shared/errors.ts';

/**
 * Decides to which addresses webhooks may connect. An administrator of a project must not reach the network that the server
 * is in. The check is done on the resolved address, and the socket connects to this very address: a name that resolves to
 * another one at the second lookup gains nothing.
 */

/** Networks of IPv4 that are not of the public internet, and the address of Azure's metadata. */
const PRIVATE_V4 = [
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12', '192.0.0.0/24'],
  ...['192.0.2.0/24', '192.88.99.0/24', '192.168.0.0/16', '198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24'],
  ...['224.0.0.0/4', '240.0.0.0/4', '168.63.129.16/32'],
];
/** The unicast addresses of IPv6, and the parts of them that are not public: some contain an address of IPv4. */
const UNICAST_V6 = '2000::/3';
const PRIVATE_V6 = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20'];

/** The error of a lookup that found refused addresses only. */
export const ADDRESS_REFUSED = 'RUNWIRE_ADDRESS_REFUSED';

export type Resolver = (
  host: string,
  callback: (error: Error | null, addresses: { address: string; family: number }[]) => void,
) => void;

const systemResolver: Resolver = (host, callback) =>
  resolve(host, { all: true }, (error, addresses) => callback(error, addresses));

export class WebhookAddresses {
  readonly #hosts = new Set<string>();
  readonly #allowed = new BlockList();
  readonly #private = listOf(PRIVATE_V4);
  readonly #unicast = listOf([UNICAST_V6]);
  readonly #privateV6 = listOf(PRIVATE_V6);
  readonly #resolve: Resolver;

  /**
   * `allow`: names of hosts, IP addresses and networks that may be reached although they are not public. Throws
   * `INVALID_INPUT`.
   */
  constructor(allow: readonly string[] = [], resolver: Resolver = systemResolver) {
    this.#resolve = resolver;
    allow.forEach((entry, index) => {
      if (!isAllowEntry(entry)) {
        const message = 'must be a host name, an IP address, or a network such as 10.0.0.0/8';
        throw new RunwireError('INVALID_INPUT', message, { path: `webhookAllow.${index}` });
      }
      if (isIP(entry.split('/')[0] as string)) addTo(this.#allowed, entry);
      else this.#hosts.add(nameOf(entry));
    });
  }

  /**
   * Returns what is wrong with an address of a webhook, as far as its text shows it; undefined if nothing is. A name may
   * still resolve to an address that is refused.
   */
  problemOf(text: string): string | undefined {
    if (text.length > 2_000) return 'must have at most 2,000 characters';
    if (!URL.canParse(text)) return 'must be an address such as https://hooks.example.org/runwire';
    const url = new URL(text);
    const host = hostOf(url);
    const isLocal = host === 'localhost' || isLoopback(host);
    if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLocal)) {
      return 'must begin with https:// (http:// is for localhost only)';
    }
    if (url.username !== '' || url.password !== '') return 'must have no user and no password';
    if (url.hash !== '') return 'must have no #fragment';
    const isRefused = host === 'localhost' ? !this.#allowsName(host) : isIP(host) !== 0 && !this.allows(host, host);
    return isRefused ? 'is inside the network of the server: WEBHOOK_ALLOW does not list it' : undefined;
  }

  /** Whether a connection to an address may be opened. `host`: the name that was resolved, or the address itself. */
  allows(address: string, host: string): boolean {
    if (this.#hosts.has(nameOf(host))) return true;
    const ip = unmapped(address);
    const family = isIP(ip);
    if (family === 0) return false;
    const type = family === 6 ? 'ipv6' : 'ipv4';
    if (this.#allowed.check(ip, type)) return true;
    if (family === 4) return !this.#private.check(ip, type);
    return this.#unicast.check(ip, type) && !this.#privateV6.check(ip, type);
  }

  /**
   * The `lookup` of sockets: resolves a name, and returns only addresses that are allowed. Sockets do not call it for a host
   * that is an IP address.
   */
  readonly lookup: LookupFunction = (host, options, callback) => {
    this.#resolve(host, (error, addresses) => {
      if (error) return callback(error, '', 0);
      const allowed = addresses.filter(({ address }) => this.allows(address, host));
      const [first] = allowed;
      if (!first) return callback(refused(), '', 0);
      if (options.all) return callback(null, allowed);
      callback(null, first.address, first.family);
    });
  };

  /** Whether a name is listed, or the loopback network is: `localhost` resolves to it. */
  #allowsName(host: string): boolean {
    return this.allows('127.0.0.1', host) || this.allows('::1', host);
  }
}

export const refused = (): Error => Object.assign(new Error('the address is refused'), { code: ADDRESS_REFUSED });

/** Whether a text is a host name, an IP address, or a network of them. */
export function isAllowEntry(text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/');
  const family = isIP(address);
  if (family === 0) {
    const name = nameOf(text);
    return /^(?=.{1,253}$)(?!.*\.$)[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$/.test(name) && !/^[\d.]+$/.test(name);
  }
  if (rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 6 ? 128 : 32));
}

/** The host of an address as sockets get it: an IPv6 address without brackets. */
export const hostOf = ({ hostname }: URL): string => nameOf(hostname.replace(/^\[|\]$/g, ''));

const nameOf = (host: string): string => host.toLowerCase().replace(/\.$/, '');

const isLoopback = (host: string): boolean =>
  isIP(host) !== 0 && LOOPBACK.check(unmapped(host), typeOf(unmapped(host)));

const typeOf = (address: string) => (isIP(address) === 6 ? 'ipv6' : 'ipv4');

/** Returns the IPv4 address that an IPv6 address like `::ffff:127.0.0.1` stands for; else the address, without a zone. */
function unmapped(address: string): string {
  const text = address.split('%')[0] as string;
  if (isIP(text) !== 6) return text;
  const { hostname } = new URL(`http://[${text}]`); // The shortest form, without dots.
  const match = /^\[::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/.exec(hostname);
  if (!match) return text;
  const [high, low] = [Number.parseInt(match[1] as string, 16), Number.parseInt(match[2] as string, 16)];
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}

function listOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) addTo(list, network);
  return list;
}

function addTo(list: BlockList, network: string): void {
  const [address = '', bits] = network.split('/');
  const type = typeOf(address);
  list.addSubnet(address, Number(bits ?? (type === 'ipv6' ? 128 : 32)), type);
}

const LOOPBACK = listOf(['127.0.0.0/8', '::1/128']);
