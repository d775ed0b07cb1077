import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import Provider, { type Configuration } from 'oidc-provider';

/** A real OpenID provider on a free port, with a page of its own to sign in. */

export const oidcClient = { clientId: 'runwire-app', clientSecret: 'a secret of the client, for tests alone' };

export type Account = { name?: string; projects?: unknown; roles?: unknown; [claim: string]: unknown };

export type ProviderOptions = {
  /** Claims of each user, by `sub`. They may be changed while the provider runs. */
  accounts?: Record<string, Account>;
  /** Lifetime of access tokens in seconds. */
  lifeSeconds?: number;
  /** Whether refresh tokens are issued. Default true. */
  isRefreshing?: boolean;
  /** The claims are in the ID token too, not only in the answer of the userinfo endpoint. */
  areClaimsInIdToken?: boolean;
  configuration?: Partial<Configuration>;
  port?: number;
};

export async function startProvider(options: ProviderOptions = {}) {
  const { accounts = { vera: { name: 'Vera Lind', projects: ['demo'], roles: ['viewer'] } }, isRefreshing = true } =
    options;
  let { lifeSeconds = 3_600 } = options;
  const http = createServer();
  await new Promise<void>((resolve) => http.listen(options.port ?? 0, '127.0.0.1', resolve));
  const { port } = http.address() as AddressInfo;
  const issuer = `http://127.0.0.1:${port}`;
  const makeProvider = (origins: string[]) => {
    const provider = new Provider(issuer, {
      clients: [
        {
          client_id: oidcClient.clientId,
          client_secret: oidcClient.clientSecret,
          grant_types: ['authorization_code', 'refresh_token'],
          response_types: ['code'],
          redirect_uris: origins.map((origin) => `${origin}/auth/callback`),
        },
      ],
      features: { devInteractions: { enabled: false }, revocation: { enabled: true } },
      claims: { openid: ['sub', 'projects', 'roles', 'realm_access'], profile: ['name', 'preferred_username'] },
      conformIdTokenClaims: !options.areClaimsInIdToken,
      findAccount: async (_ctx, sub) => {
        if (!accounts[sub]) return undefined;
        return { accountId: sub, claims: async () => ({ sub, ...accounts[sub] }) };
      },
      issueRefreshToken: async () => isRefreshing,
      rotateRefreshToken: true,
      interactions: { url: (_ctx, { uid }) => `/interaction/${uid}` },
      pkce: { required: () => true },
      cookies: { keys: ['a key for the cookies of the provider'] },
      ttl: {
        AccessToken: () => lifeSeconds,
        RefreshToken: 86_400,
        Session: 86_400,
        Grant: 86_400,
        IdToken: 60,
        Interaction: 600,
      },
      ...options.configuration,
    });
    provider.on('server_error', (_ctx, error) => console.error(error));
    return provider;
  };
  let provider: Provider | undefined;
  /** Requests to the provider: method and path. */
  const requests: string[] = [];
  const grants = new Set<string>();
  let isDown = false;
  let hold: { isTaken: boolean; released: Promise<void> } | undefined;
  http.on('request', async (request, response) => {
    requests.push(`${request.method} ${request.url?.split('?')[0]}`);
    if (isDown || !provider) return response.destroy();
    if (hold && request.url === '/token') {
      if (hold.isTaken)
        return response.writeHead(400, { 'content-type': 'application/json' }).end('{"error":"invalid_grant"}');
      hold.isTaken = true;
      await hold.released;
    }
    if (request.url === '/favicon.ico') return response.writeHead(204).end(); // Every browser asks for it.
    const uid = /^\/interaction\/([\w-]+)/.exec(request.url ?? '')?.[1];
    if (uid === undefined) return provider.callback()(request, response);
    // Its errors are pages: an interaction of another browser, for example.
    await interact(provider, grants, request, response).catch((error) => {
      response.writeHead(500).end(String(error));
    });
  });
  return {
    issuer,
    accounts,
    requests,
    /** The options of a server that signs its users in here. */
    options: { oidcIssuer: issuer, oidcClientId: oidcClient.clientId, oidcClientSecret: oidcClient.clientSecret },
    /** Registers the servers at these origins, and begins to answer. */
    allow: (...origins: string[]) => {
      provider = makeProvider(origins);
    },
    /** Sets the lifetime of the access tokens issued from now on. */
    setLife: (seconds: number) => {
      lifeSeconds = seconds;
    },
    /** Refuses connections until it is called with false. */
    setDown: (value: boolean) => {
      isDown = value;
    },
    /**
     * Answers the next request for tokens only once the returned function is called, and refuses all others: a provider
     * refuses the second use of a refresh token.
     */
    holdToken: () => {
      let release = () => {};
      hold = { isTaken: false, released: new Promise((resolve) => (release = resolve)) };
      return release;
    },
    /** Deletes what the user has granted, so that refresh tokens are refused. */
    revokeGrants: async () => {
      for (const id of grants) await provider?.Grant.adapter.destroy(id);
    },
    close: () => closed(http),
    [Symbol.asyncDispose]: () => closed(http),
  };
}

const closed = (http: Server) =>
  new Promise<void>((resolve) => {
    http.closeAllConnections();
    http.close(() => resolve());
  });

/** Shows a page that asks for the user, and grants what was asked for. */
async function interact(
  provider: Provider,
  grants: Set<string>,
  request: Parameters<Provider['interactionDetails']>[0],
  response: Parameters<Provider['interactionDetails']>[1],
): Promise<void> {
  const details = await provider.interactionDetails(request, response);
  if (details.prompt.name === 'consent') {
    const grant = new provider.Grant({
      accountId: details.session?.accountId,
      clientId: String(details.params.client_id),
    });
    grant.addOIDCScope(String(details.params.scope));
    grant.addOIDCClaims(['name', 'preferred_username', 'projects', 'roles', 'realm_access']);
    const grantId = await grant.save();
    grants.add(grantId);
    await provider.interactionFinished(request, response, { consent: { grantId } }, { mergeWithLastSubmission: true });
    return;
  }
  if (request.method === 'POST') {
    let body = '';
    for await (const chunk of request) body += chunk;
    const form = new URLSearchParams(body);
    const result = form.has('cancel')
      ? { error: 'access_denied', error_description: 'the user has cancelled' }
      : { login: { accountId: form.get('user') ?? '' } };
    await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
    return;
  }
  response.writeHead(200, { 'content-type': 'text/html' });
  response.end(`<!doctype html><title>Provider</title><h1>Sign in at the provider</h1>
    <form method="post" action="${request.url}"><label>User <input name="user" autofocus></label>
    <button>Continue</button><button name="cancel" value="1">Cancel</button></form>`);
}
