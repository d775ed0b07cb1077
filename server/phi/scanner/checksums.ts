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

/** A card number of a known network: 13–19 digits, Luhn. https://en.wikipedia.org/wiki/Payment_card_number */
export const isCard = (digits: string): boolean =>
  digits.length >= 13 && digits.length <= 19 && /^[3-6]/.test(digits) && !/^(\d)\1+$/.test(digits) && luhn(digits);

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
