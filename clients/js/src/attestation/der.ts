/**
 * The little of DER that certificates and revocation lists use (X.690), read strictly: definite
 * minimal lengths, exact tags, nothing after the end. General ASN.1 libraries are ten times the
 * size and accept BER, which would let one certificate have many spellings.
 */

import type { Bytes } from "../bytes.js";

/** Thrown for bytes that are not the DER that was expected; callers name the step that fails. */
export class BadDer extends Error {
  constructor(why: string) {
    super(why);
    this.name = "BadDer";
  }
}

export const Tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  enumerated: 0x0a,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  context0: 0xa0,
  context3: 0xa3,
} as const;

const LONG_FORM = 0x80;
const MAX_LENGTH_BYTES = 3;

/** One element: tag, content, and all of its bytes. */
export interface Node {
  readonly tag: number;
  readonly raw: Bytes;
  readonly value: Bytes;
}

/** The element at an offset. */
function elementAt(bytes: Bytes, at: number): Node {
  const [tag, first] = [bytes[at], bytes[at + 1]];
  if (tag === undefined || first === undefined) throw new BadDer("it breaks off");
  const { length, head } = first < LONG_FORM ? { length: first, head: 2 } : longForm(bytes, at);
  const end = at + head + length;
  if (end > bytes.length) throw new BadDer("an element is longer than its container");
  return { tag, raw: bytes.slice(at, end), value: bytes.slice(at + head, end) };
}

function longForm(bytes: Bytes, at: number): { length: number; head: number } {
  const size = (bytes[at + 1] ?? 0) & ~LONG_FORM;
  if (size < 1 || size > MAX_LENGTH_BYTES) throw new BadDer("a length has a wrong form");
  const digits = bytes.subarray(at + 2, at + 2 + size);
  const length = digits.reduce((sum, byte) => sum * 256 + byte, 0);
  const least = size === 1 ? LONG_FORM : 256 ** (size - 1);
  if (digits.length !== size || length < least) throw new BadDer("a length is not minimal");
  return { length, head: 2 + size };
}

/** The one element that the bytes are. */
export function whole(bytes: Bytes, tag: number): Node {
  const node = elementAt(bytes, 0);
  if (node.raw.length !== bytes.length) throw new BadDer("something follows the end");
  return expect(node, tag);
}

/** The node, if it has the tag. */
export function expect(node: Node | undefined, tag: number): Node {
  if (node?.tag !== tag) throw new BadDer("an element has another type");
  return node;
}

/** What a sequence or an explicit tag holds. */
export function children(node: Node): readonly Node[] {
  const out: Node[] = [];
  for (let at = 0; at < node.value.length; ) {
    const child = elementAt(node.value, at);
    out.push(child);
    at += child.raw.length;
  }
  return out;
}

export function sequence(node: Node | undefined): readonly Node[] {
  return children(expect(node, Tag.sequence));
}

/** The bytes of a minimal INTEGER, sign included. */
export function integerBytes(node: Node | undefined): Bytes {
  const { value } = expect(node, Tag.integer);
  const [first, second] = value;
  if (first === undefined) throw new BadDer("an integer is empty");
  const padded =
    second !== undefined && ((first === 0 && second < 128) || (first === 255 && second > 127));
  if (padded) throw new BadDer("an integer is not minimal");
  return value;
}

/** A small non-negative INTEGER. */
export function smallInteger(node: Node | undefined): number {
  const bytes = integerBytes(node);
  if (bytes.length > 4 || (bytes[0] ?? 0) > 127) throw new BadDer("an integer is out of range");
  return bytes.reduce((sum, byte) => sum * 256 + byte, 0);
}

export function boolean(node: Node | undefined): boolean {
  const { value } = expect(node, Tag.boolean);
  if (value.length !== 1 || (value[0] !== 0 && value[0] !== 255)) {
    throw new BadDer("a truth value has a wrong form");
  }
  return value[0] === 255;
}

/** The whole bytes of a BIT STRING without unused bits. */
export function bitBytes(node: Node | undefined): Bytes {
  const { value } = expect(node, Tag.bitString);
  if (value[0] !== 0) throw new BadDer("a bit string does not hold whole bytes");
  return value.slice(1);
}

/** Dotted text of an OBJECT IDENTIFIER. */
export function oid(node: Node | undefined): string {
  const { value } = expect(node, Tag.oid);
  const arcs: number[] = [];
  let arc = 0;
  for (const byte of value) {
    if (arc === 0 && byte === LONG_FORM) throw new BadDer("an identifier is not minimal");
    arc = arc * 128 + (byte & ~LONG_FORM);
    if (byte < LONG_FORM) {
      arcs.push(arc);
      arc = 0;
    }
  }
  const [head, ...rest] = arcs;
  if (head === undefined || (value.at(-1) ?? 0) >= LONG_FORM) throw new BadDer("no identifier");
  const first = Math.min(2, Math.floor(head / 40));
  return [first, head - 40 * first, ...rest].join(".");
}

const TIME = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;

/** Unix seconds of a UTCTime or GeneralizedTime in RFC 5280's form. */
export function time(node: Node | undefined): number {
  const digits = String.fromCharCode(...(node?.value ?? []));
  const short = node?.tag === Tag.utcTime;
  if (!short && node?.tag !== Tag.generalizedTime) throw new BadDer("a time has another type");
  const century = Number(digits.slice(0, 2)) >= 50 ? "19" : "20"; // RFC 5280 4.1.2.5.1
  const parts = TIME.exec(short ? century + digits : digits);
  if (parts === null) throw new BadDer("a time has a wrong form");
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts
    .slice(1)
    .map(Number);
  const moment = new Date(Date.UTC(year, month - 1, day, hour, minute, second));
  if (moment.getUTCDate() !== day || moment.getUTCMonth() !== month - 1) {
    throw new BadDer("there is no such day");
  }
  return moment.getTime() / 1000;
}

const SCALAR = 32;

/** ECDSA P-256: `SEQUENCE { r INTEGER, s INTEGER }` to the 64 bytes r||s of WebCrypto. */
export function signatureToRaw(der: Bytes): Bytes {
  const numbers = sequence(whole(der, Tag.sequence));
  if (numbers.length !== 2) throw new BadDer("a signature has two numbers");
  const out = new Uint8Array(2 * SCALAR);
  numbers.forEach((node, index) => {
    const bytes = integerBytes(node);
    if ((bytes[0] ?? 0) > 127) throw new BadDer("a number of a signature is negative");
    const digits = bytes[0] === 0 ? bytes.subarray(1) : bytes;
    if (digits.length > SCALAR) throw new BadDer("a number of a signature is too long");
    out.set(digits, SCALAR * (index + 1) - digits.length);
  });
  return out;
}
