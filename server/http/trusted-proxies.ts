import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { RunwireError } from '../../shared/errors.ts';

/**
 * Finds the network address of a client behind proxies. A proxy appends the address of its peer to `X-Forwarded-For`, and any
 * client can send that header. So the list is read from its end, and only as far as trusted proxies have written it.
 */
export class TrustedProxies {
  readonly #trusted = new BlockList();
  readonly #hasAny: boolean;

  /** Takes addresses and networks, such as `127.0.0.1` and `10.0.0.0/8`. Throws `INVALID_INPUT` for anything else. */
  constructor(proxies: readonly string[] = []) {
    this.#hasAny = proxies.length > 0;
    proxies.forEach((proxy, index) => {
      if (!isNetwork(proxy)) {
        const message = 'must be an IP address, or a network such as 10.0.0.0/8';
        throw new RunwireError('INVALID_INPUT', message, { path: `trustedProxies.${index}` });
      }
      const [address = '', bits] = proxy.split('/');
      const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
      this.#trusted.addSubnet(address, Number(bits ?? (family === 'ipv6' ? 128 : 32)), family);
    });
  }

  /**
   * The address of the client, or of the last proxy that is not trusted. For IPv6 it is the network of 64 bits: a client
   * has all addresses of its network.
   */
  addressOf({ socket, headers }: Pick<IncomingMessage, 'socket' | 'headers'>): string {
    let address = socket.remoteAddress ?? '';
    if (this.#trusts(address)) {
      const forwarded = [headers['x-forwarded-for'] ?? []].flat().join(',').split(',');
      while (this.#trusts(address)) {
        const next = forwarded.pop()?.trim() ?? '';
        if (!isIP(next)) break;
        address = next;
      }
    }
    return isIP(address) === 6 ? networkOf(address) : address;
  }

  #trusts(address: string): boolean {
    if (!this.#hasAny) return false;
    const family = isIP(address);
    return family !== 0 && this.#trusted.check(address, family === 6 ? 'ipv6' : 'ipv4');
  }
}

/** Whether a text is an IP address, or a network of them. */
export function isNetwork(text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/');
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 6 ? 128 : 32));
}

/** Returns the first 64 bits of an IPv6 address, or the IPv4 address that it contains. */
function networkOf(address: string): string {
  if (address.includes('.')) return address.slice(address.lastIndexOf(':') + 1);
  const [head = [], tail = []] = address.split('::').map((part) => (part === '' ? [] : part.split(':')));
  const zeros = Array<string>(Math.max(0, 8 - head.length - tail.length)).fill('0');
  return `${[...head, ...zeros, ...tail].slice(0, 4).join(':').toLowerCase()}::/64`;
}
