/** Published checksums and formats of identifiers. All functions expect digits or upper-case characters. */

function luhn(digits: string): boolean {
  let sum = 0;
  for (let i = digits.length - 1, isSecond = false; i >= 0; i--, isSecond = !isSecond) {
    const digit = digits.charCodeAt(i) - 48;
    const doubled = isSecond ? digit * 2 : digit;
    sum += doubled > 9 ? doubled - 9 : doubled;
  }
  return sum % 10 === 0;
}

/** Prefixes and lengths of the networks: Visa, Mastercard, American Express, Diners, JCB, Discover, UnionPay, Maestro. */
const NETWORKS =
  /^(?:4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}|3(?:0[0-59]|[689]\d)\d{11,16}|35(?:2[89]|[3-8]\d)\d{12,15}|(?:1800|2131)\d{11}|6\d{12,18}|5[0678]\d{11,17})$/;
/** A card number of a known network: 13–19 digits, Luhn. https://en.wikipedia.org/wiki/Payment_card_number */
export const isCard = (digits: string): boolean => NETWORKS.test(digits) && !/^(\d)\1+$/.test(digits) && luhn(digits);

/** A National Provider Identifier: ten digits, Luhn with the prefix 80840. 45 CFR 162.406 */
export const isNpi = (digits: string): boolean => /^[12]\d{9}$/.test(digits) && luhn(`80840${digits}`);

/** A number of the Drug Enforcement Administration: two letters, seven digits, the last of which checks the others. */
export function isDea(text: string): boolean {
  if (!/^[A-HJ-MPRSTUX][A-Z9]\d{7}$/.test(text)) return false;
  const [a, b, c, d, e, f, check] = [...text.slice(2)].map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  return (a + c + e + 2 * (b + d + f)) % 10 === check;
}

/**
 * ISO 13616: two letters, two digits, up to 30 more characters. Read as a number, from the fifth character on with the
 * first four at the end, it is 1 modulo 97.
 */
export function isIban(text: string): boolean {
  if (text.length < 15 || text.length > 34 || !/^[A-Z]{2}\d{2}[A-Z0-9]+$/.test(text)) return false;
  let rest = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt((i + 4) % text.length);
    rest = code <= 57 ? (rest * 10 + code - 48) % 97 : (rest * 100 + code - 55) % 97;
  }
  return rest === 1;
}

const VIN_VALUES = '0123456789.ABCDEFGH..JKLMN.P.R..STUVWXYZ';
const VIN_WEIGHTS = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
/** 49 CFR 565.15: 17 characters without I, O and Q; the ninth is the check digit, the last four are digits. */
export function isVin(text: string): boolean {
  if (!/^(?=.*[A-Z])[A-HJ-NPR-Z0-9]{13}\d{4}$/.test(text)) return false;
  let sum = 0;
  for (let i = 0; i < 17; i++) sum += (VIN_VALUES.indexOf(text[i] as string) % 10) * (VIN_WEIGHTS[i] as number);
  return text[8] === 'X' ? sum % 11 === 10 : sum % 11 === Number(text[8]);
}

/** The shape of a Medicare Beneficiary Identifier, which has no checksum: CMS, "Understanding the MBI format". */
export const isMbi = (text: string): boolean =>
  /^[1-9][AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9]\d[AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9]\d[AC-HJKMNP-RT-Y]{2}\d{2}$/.test(
    text,
  );
