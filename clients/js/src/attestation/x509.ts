/** Certificates and revocation lists of DCAP (RFC 5280), as far as the verification reads them. */

import { type Bytes, equal, toHex } from "../bytes.js";
import { subtle } from "../envelope/keys.js";
import {
  BadDer,
  bitBytes,
  boolean,
  children,
  expect,
  integerBytes,
  type Node,
  oid,
  sequence,
  signatureToRaw,
  smallInteger,
  Tag,
  time,
  whole,
} from "./der.js";

const ECDSA_SHA256 = "1.2.840.10045.4.3.2";
const BASIC_CONSTRAINTS = "2.5.29.19";
const KEY_USAGE = "2.5.29.15";
const KEY_CERT_SIGN = 0x04;
const CRL_SIGN = 0x02;
const P256 = { name: "ECDSA", namedCurve: "P-256" } as const;
const ECDSA = { name: "ECDSA", hash: "SHA-256" } as const;

/** Something signed: the bytes, and the signature as WebCrypto wants it. */
interface Signed {
  readonly tbs: Bytes;
  readonly signature: Bytes;
  readonly issuer: Bytes;
}

export interface Certificate extends Signed {
  readonly der: Bytes;
  readonly serial: string;
  readonly subject: Bytes;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly spki: Bytes;
  readonly isCa: boolean;
  /** How many authorities may stand below this one. */
  readonly pathLength: number;
  readonly signsCertificates: boolean;
  readonly signsLists: boolean;
  readonly extensions: ReadonlyMap<string, Bytes>;
}

export interface RevocationList extends Signed {
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  readonly revoked: ReadonlySet<string>;
}

interface Outer {
  readonly fields: readonly Node[];
  readonly tbs: Bytes;
  readonly signature: Bytes;
}

/** `SEQUENCE { tbs, algorithm, signature }`, whose algorithm is ECDSA with SHA-256 in both places. */
function outer(der: Bytes, algorithmAt: (fields: readonly Node[]) => Node | undefined): Outer {
  const [tbs, algorithm, signature, ...more] = sequence(whole(der, Tag.sequence));
  const fields = sequence(tbs);
  if (tbs === undefined || algorithm === undefined || more.length > 0)
    throw new BadDer("its shape");
  const inner = algorithmAt(fields);
  const named = sequence(algorithm);
  if (inner === undefined || !equal(inner.raw, algorithm.raw)) throw new BadDer("two algorithms");
  if (named.length !== 1 || oid(named[0]) !== ECDSA_SHA256) throw new BadDer("another algorithm");
  return { fields, tbs: tbs.raw, signature: signatureToRaw(bitBytes(signature)) };
}

/** Extensions by identifier; a critical one that nobody here reads refuses all (RFC 5280 4.2). */
function extensionsOf(list: Node | undefined): ReadonlyMap<string, Bytes> {
  const found = new Map<string, Bytes>();
  for (const extension of sequence(list)) {
    const [id, ...rest] = sequence(extension);
    const critical = rest.length === 2 && boolean(rest[0]);
    const name = oid(id);
    if (rest.length < 1 || rest.length > 2 || found.has(name)) throw new BadDer("an extension");
    if (critical && name !== BASIC_CONSTRAINTS && name !== KEY_USAGE) {
      throw new BadDer("an unknown critical extension");
    }
    found.set(name, expect(rest.at(-1), Tag.octetString).value);
  }
  return found;
}

function constraintsOf(extensions: ReadonlyMap<string, Bytes>): {
  isCa: boolean;
  pathLength: number;
} {
  const bytes = extensions.get(BASIC_CONSTRAINTS);
  if (bytes === undefined) return { isCa: false, pathLength: 0 };
  const [ca, length, ...more] = sequence(whole(bytes, Tag.sequence));
  if (more.length > 0) throw new BadDer("basic constraints");
  if (ca === undefined) return { isCa: false, pathLength: 0 };
  const pathLength = length === undefined ? Number.POSITIVE_INFINITY : smallInteger(length);
  return { isCa: boolean(ca), pathLength };
}

function usageOf(extensions: ReadonlyMap<string, Bytes>): number {
  const bytes = extensions.get(KEY_USAGE);
  if (bytes === undefined) return 0;
  const [unused, bits] = whole(bytes, Tag.bitString).value;
  if (unused === undefined || unused > 7 || bits === undefined) throw new BadDer("key usage");
  return bits;
}

export function parseCertificate(der: Bytes): Certificate {
  const { fields, tbs, signature } = outer(der, (all) => all[2]);
  const [version, serial, , issuer, validity, subject, spki, ...rest] = fields;
  const [number] = children(expect(version, Tag.context0));
  const [notBefore, notAfter] = sequence(validity);
  const [wrapped, ...more] = rest;
  if (smallInteger(number) !== 2 || more.length > 0)
    throw new BadDer("no certificate of version 3");
  const extensions = extensionsOf(children(expect(wrapped, Tag.context3))[0]);
  const usage = usageOf(extensions);
  return {
    der,
    tbs,
    signature,
    serial: toHex(integerBytes(serial)),
    issuer: expect(issuer, Tag.sequence).raw,
    subject: expect(subject, Tag.sequence).raw,
    notBefore: time(notBefore),
    notAfter: time(notAfter),
    spki: expect(spki, Tag.sequence).raw,
    ...constraintsOf(extensions),
    signsCertificates: (usage & KEY_CERT_SIGN) !== 0,
    signsLists: (usage & CRL_SIGN) !== 0,
    extensions,
  };
}

/** A version 2 list; other versions and critical extensions are refused. */
export function parseRevocationList(der: Bytes): RevocationList {
  const { fields, tbs, signature } = outer(der, (all) => all[1]);
  const [version, , issuer, thisUpdate, nextUpdate, ...rest] = fields;
  const list = rest[0]?.tag === Tag.sequence ? rest[0] : undefined;
  const [extensions, ...more] = list === undefined ? rest : rest.slice(1);
  if (smallInteger(version) !== 1 || more.length > 0) throw new BadDer("no list of version 2");
  if (extensions !== undefined) extensionsOf(children(expect(extensions, Tag.context0))[0]);
  return {
    tbs,
    signature,
    issuer: expect(issuer, Tag.sequence).raw,
    thisUpdate: time(thisUpdate),
    nextUpdate: time(nextUpdate),
    revoked: new Set((list === undefined ? [] : children(list)).map(revokedSerial)),
  };
}

function revokedSerial(entry: Node): string {
  const [serial, date, extensions, ...more] = sequence(entry);
  time(date);
  if (extensions !== undefined) extensionsOf(extensions);
  if (more.length > 0) throw new BadDer("an entry of the list");
  return toHex(integerBytes(serial));
}

/** Whether an ECDSA P-256 signature (r||s) over data is by the key of a certificate. */
export async function isSignedBy(spki: Bytes, signature: Bytes, data: Bytes): Promise<boolean> {
  return check(() => subtle().importKey("spki", spki, P256, false, ["verify"]), signature, data);
}

/** The same for a bare public point x||y. */
export async function isSignedByPoint(
  point: Bytes,
  signature: Bytes,
  data: Bytes,
): Promise<boolean> {
  const raw = new Uint8Array(1 + point.length);
  raw[0] = 4; // uncompressed
  raw.set(point, 1);
  return check(() => subtle().importKey("raw", raw, P256, false, ["verify"]), signature, data);
}

async function check(
  load: () => Promise<CryptoKey>,
  signature: Bytes,
  data: Bytes,
): Promise<boolean> {
  let key: CryptoKey;
  try {
    key = await load();
  } catch {
    return false; // no point of the curve
  }
  return subtle().verify(ECDSA, key, signature, data);
}
