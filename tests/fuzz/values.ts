import type { Dice } from '../chaos/random.ts';

/** Unexpected values, and valid values with an unexpected part. */

/** Part of every generated text: an error or a log line that contains it echoes input. */
export const canary = 'CANARY-7f3e';

const nested = (levels: number): unknown => {
  let value: unknown = canary;
  for (let level = 0; level < levels; level++) value = level % 2 ? [value] : { a: value };
  return value;
};

const texts: readonly string[] = [
  '',
  ' ',
  canary,
  `\0${canary}`,
  `${canary}\r\n\tx: y`,
  `${canary}\ud800`,
  `\u202e${canary}\u200b\ufeff`,
  `👩‍🔬é\u0301${canary}`,
  '__proto__',
  'constructor',
  'toString',
  `../../../../etc/passwd#${canary}`,
  `<script>alert('${canary}')</script>`,
  `${canary}' OR 1=1; DROP TABLE events; --`,
  `MATCH "${canary}* NEAR(`,
  `\${jndi:ldap://${canary}}`,
  `%s%n%x ${canary}`,
  `${canary} 078-05-1120`,
  `MRN: 4815162342 ${canary}`,
  'PID|1||4815162342^^^MRN||DOE^JANE',
  '2026-02-30T00:00:00Z',
  '2026-01-01T00:00:00',
  '+275760-09-13T00:00:00.000Z',
  '-1',
  '1e309',
  'null',
  'NaN',
  '*',
  'true',
  '%00%ff%c0%af',
];

const scalars: readonly unknown[] = [null, true, false, 0, -1, 0.1, 1e21, 2 ** 53, -(2 ** 31), 1.7976931348623157e308];

export function oddText(dice: Dice): string {
  if (dice.chance(0.08)) return canary.repeat(dice.pick([20, 200, 2_000]));
  return dice.pick(texts);
}

export function oddValue(dice: Dice): unknown {
  if (dice.chance(0.5)) return oddText(dice);
  if (dice.chance(0.6)) return dice.pick(scalars);
  return dice.pick<() => unknown>([
    () => [],
    () => ({}),
    () => [canary],
    () => ({ [oddKey(dice)]: canary }),
    () => nested(dice.pick([3, 60, 600])),
    () => dice.list(dice.pick([3, 50, 1_001]), () => canary),
  ])();
}

const oddKey = (dice: Dice) =>
  dice.pick(['__proto__', 'constructor', 'toString', 'length', '', ' ', 'a.b', '0', 'then']);

/** Sets a key as `JSON.parse` does, `__proto__` included. */
const put = (object: object, key: string, value: unknown) =>
  Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });

/** Copies a value with one to three changes anywhere in it. */
export function mutated(dice: Dice, value: unknown): unknown {
  let changed = value;
  for (let times = dice.between(1, 3); times > 0; times--) changed = mutatedOnce(dice, changed);
  return changed;
}

function mutatedOnce(dice: Dice, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || dice.chance(0.12)) return changed(dice, value);
  if (Array.isArray(value)) {
    if (value.length === 0 || dice.chance(0.2)) return [...value, oddValue(dice)];
    const at = dice.between(0, value.length - 1);
    return value.map((item, index) => (index === at ? mutatedOnce(dice, item) : item));
  }
  const entries = Object.entries(value);
  const [key] = entries.length > 0 ? dice.pick(entries) : [''];
  const copy = {};
  const isGone = dice.chance(0.15);
  for (const [name, item] of entries) {
    if (name === key && isGone) continue;
    put(copy, name, name === key ? mutatedOnce(dice, item) : item);
  }
  if (dice.chance(0.15)) put(copy, oddKey(dice), oddValue(dice));
  return copy;
}

function changed(dice: Dice, value: unknown): unknown {
  if (typeof value === 'string' && dice.chance(0.4)) return dice.pick([value + oddText(dice), value.toUpperCase(), '']);
  if (typeof value === 'number' && dice.chance(0.4))
    return dice.pick([-value, value + 0.5, value * 1e9, String(value)]);
  return dice.pick([() => oddValue(dice), () => [value], () => ({ value })])();
}
