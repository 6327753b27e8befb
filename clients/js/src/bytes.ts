/** Bytes and their spellings: lower-case hex, base64 in its one spelling, UTF-8 (SPEC 1.6). */

export type Bytes = Uint8Array<ArrayBuffer>;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const HEX = /^(?:[0-9a-f]{2})*$/;
const CHUNK = 0x8000; // arguments of one call: engines allow some 65,000

export function utf8(text: string): Bytes {
  return encoder.encode(text);
}

/** Text of exact UTF-8; throws `TypeError` for any other bytes. A byte order mark is kept. */
export function text(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

export function toHex(bytes: Uint8Array): string {
  let out = "";
  for (const byte of bytes) out += byte.toString(16).padStart(2, "0");
  return out;
}

/** Throws `RangeError` for anything but lower-case hex. */
export function fromHex(hex: string): Bytes {
  if (!HEX.test(hex)) throw new RangeError("not lower-case hex");
  const out = new Uint8Array(hex.length / 2);
  for (let at = 0; at < out.length; at++) {
    out[at] = Number.parseInt(hex.slice(2 * at, 2 * at + 2), 16);
  }
  return out;
}

export function concat(...parts: readonly Uint8Array[]): Bytes {
  const out = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Compares without an early end: the time tells nothing of where two values differ. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let at = 0; at < a.length; at++) difference |= (a[at] ?? 0) ^ (b[at] ?? 0);
  return difference === 0;
}

export function u32be(value: number): Bytes {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, value);
  return out;
}

export function readU32be(bytes: Uint8Array, at = 0): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(at);
}

export function toBase64(bytes: Uint8Array): string {
  let binary = "";
  for (let at = 0; at < bytes.length; at += CHUNK) {
    binary += String.fromCharCode(...bytes.subarray(at, at + CHUNK));
  }
  return btoa(binary);
}

/** The bytes of padded base64 in its one spelling; throws `RangeError` for any other. */
export function fromBase64(base64: string): Bytes {
  let binary: string;
  try {
    binary = atob(base64);
  } catch {
    throw new RangeError("not base64");
  }
  const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  if (toBase64(bytes) !== base64) throw new RangeError("the base64 is not canonical");
  return bytes;
}

/** The bytes of unpadded base64url in its one spelling; throws `RangeError` for any other. */
export function fromBase64Url(base64url: string): Bytes {
  if (/[^A-Za-z0-9_-]/.test(base64url)) throw new RangeError("not base64url");
  const base64 = base64url.replaceAll("-", "+").replaceAll("_", "/");
  return fromBase64(base64.padEnd(Math.ceil(base64.length / 4) * 4, "="));
}
