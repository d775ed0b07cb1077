/** Words and prefixes at which a secret may begin (`secrets.ts`). The kinds from `password` on may also be keys. */
export const hook = {
  none: 0,
  /** The first word of a token's prefix. */
  prefix: 1,
  /** A token with the length of a key. */
  long: 2,
  /** The head of a PEM block. */
  begin: 3,
  /** A word before credentials and a blank. */
  scheme: 4,
  /** A word with a secret after it and an equals sign. */
  query: 5,
  /** A word after which any value is a secret. */
  password: 6,
  /** A word after which a value with letters and digits is a secret. */
  token: 7,
  /** As `token`, after a word of {@link KEY_OWNERS}. */
  key: 8,
  authorization: 9,
  /** A command, or a part of a URL, with a secret at a fixed place after it: {@link PLACES}. */
  place: 10,
  /** The credentials of a registry of images in JSON. */
  auth: 11,
} as const;

export const SECRET_WORDS: readonly (readonly [words: string, kind: number])[] = [
  [
    'password passwords passwd pwd pw passphrase passcode passwort kennwort motdepasse contrasena senha pgpassword dbpassword dbpass userpassword rootpassword',
    hook.password,
  ],
  ['pass secret secrets token apikey accesskey secretkey accountkey privatekey authkey apitoken', hook.token],
  ['accesstoken authtoken authtok refreshtoken bearertoken sessiontoken clientsecret sessionid', hook.token],
  ['sig signature', hook.query],
  ['credential credentials cookie jsessionid phpsessid sharedaccesskey', hook.token],
  ['key', hook.key],
  ['authorization', hook.authorization],
  ['bearer basic', hook.scheme],
  ['auth', hook.auth],
  ['begin', hook.begin],
];

/** The first word in `api key`, `access key`. */
export const KEY_OWNERS: ReadonlySet<string> = new Set(
  'api access secret private account signing auth shared master client admin subscription functions encryption'.split(
    ' ',
  ),
);
/** The first word in `page token`, `public signature`. */
export const NO_SECRETS: ReadonlySet<string> = new Set(
  'page next continuation sync cancellation cancel unexpected expected syntax invalid start end position resume change fencing lease concurrency idempotency method'.split(
    ' ',
  ),
);

/** A secret at a fixed place after a word. The secret is the first group, within {@link PLACE_LIMIT} characters. */
export const PLACE_LIMIT = 160;
const login = /^login\b[^\n;|]{0,80}? -p[ =]?["']?(?=[^\s]{0,64}[A-Za-z])([^\s"':]{3,64})(?!\S)/d;
const mysql = /^\w+\b[^\n;|]{0,80}? -p["']?([^\s"']{3,64})/d;
export const PLACES: ReadonlyMap<string, RegExp> = new Map([
  ['hooks', /^hooks\.slack(?:-gov)?\.com\/(?:services|workflows|triggers)\/([\w/-]{20,120})/d],
  ['webhooks', /^webhooks\/(\d{6,24}\/[\w-]{30,100})/d], // Discord
  ['webhookb', /^webhookb2\/([\w@/-]{40,150})/d], // Teams
  ['mysql', mysql],
  ['mysqldump', mysql],
  ['mysqladmin', mysql],
  ['mariadb', mysql],
  ['curl', /^curl\b[^\n;|]{0,80}? (?:-u|--user)[ =]?["']?[^\s:"']{1,40}:([^\s"']{1,64})/d],
  ['sshpass', /^sshpass -p ?["']?([^\s"']{1,64})/d],
  ['login', login],
  ['redis', /^redis-cli\b[^\n;|]{0,80}? -a ?["']?([^\s"']{3,64})/d],
]);

/** Lengths of keys with a prefix that is no word: `AKIA…`, `dapi…`. */
export const AWS_LENGTH = 20;
export const DATABRICKS_LENGTH = 36;

/**
 * A token begins with `prefix`, has at least `least` letters, digits and `extra` characters after it, and among them as
 * many letters and digits in a row as `run`.
 */
export type TokenShape = { prefix: string; extra: string; least: number; run: number };

const shapes: readonly (readonly [prefixes: string, extra: string, least: number, run: number])[] = [
  ['ghp_ gho_ ghu_ ghs_ ghr_', '', 30, 30], // GitHub
  ['github_pat_', '_', 40, 10],
  ['glpat- gldt- glrt- glcbt- glptt- glft- glsoat- glimt- glagent-', '-_.', 20, 8], // GitLab
  ['xoxb- xoxp- xoxa- xoxo- xoxs- xoxr- xoxe- xapp-', '-.', 12, 8], // Slack
  ['sk_live_ sk_test_ rk_live_ rk_test_ whsec_', '', 16, 16], // Stripe
  ['sk-', '-_', 20, 16], // OpenAI, Anthropic
  ['npm_ hf_', '', 30, 30],
  ['pypi-AgE', '-_', 20, 16],
  ['dckr_pat_ dop_v1_ shpat_ shpss_', '-_', 20, 16], // Docker, DigitalOcean, Shopify
  ['AIza', '-_', 35, 8], // Google
  ['GOCSPX-', '-_', 20, 8],
  ['ya29.', '-_.', 20, 8],
  ['hvs. hvb.', '-_', 20, 16], // HashiCorp Vault
  ['SG.', '-_.', 40, 8], // SendGrid
  ['eyJ', '-_.', 20, 8], // JSON Web Tokens; `secrets.ts` also requires a dot.
];

/** The shapes, by the first word of their prefixes. */
export const TOKEN_SHAPES = new Map<string, TokenShape[]>();
for (const [prefixes, extra, least, run] of shapes) {
  for (const prefix of prefixes.split(' ')) {
    const word = (/^[A-Z]*[a-z]*/.exec(prefix) as RegExpExecArray)[0].toLowerCase();
    TOKEN_SHAPES.set(word, [...(TOKEN_SHAPES.get(word) ?? []), { prefix, extra, least, run }]);
  }
}
