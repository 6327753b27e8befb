/** What Intel's SGX extension of a PCK certificate says of the platform (Intel PCK profile). */

import { type Bytes, toHex } from "../bytes.js";
import { BadDer, children, expect, type Node, oid, smallInteger, Tag, whole } from "./der.js";

const EXTENSION = "1.2.840.113741.1.13.1";
const COMPONENTS = 16;

/** Ids in hex; patch levels as the certificate states them. */
export interface PckPlatform {
  readonly ppid: string;
  readonly fmspc: string;
  readonly pceId: string;
  readonly cpuSvn: readonly number[];
  readonly pceSvn: number;
}

/** Read the extension out of a certificate's extensions; throws `BadDer`. */
export function readPlatform(extensions: ReadonlyMap<string, Bytes>): PckPlatform {
  const bytes = extensions.get(EXTENSION);
  if (bytes === undefined) throw new BadDer("the certificate is of no platform");
  const fields = pairs(whole(bytes, Tag.sequence));
  const tcb = pairs(expect(fields.get(`${EXTENSION}.2`), Tag.sequence));
  const svn = (n: number): number => smallInteger(tcb.get(`${EXTENSION}.2.${n}`));
  return {
    ppid: octets(fields.get(`${EXTENSION}.1`), 16),
    pceId: octets(fields.get(`${EXTENSION}.3`), 2),
    fmspc: octets(fields.get(`${EXTENSION}.4`), 6),
    cpuSvn: Array.from({ length: COMPONENTS }, (_, index) => svn(index + 1)),
    pceSvn: svn(COMPONENTS + 1),
  };
}

function pairs(node: Node): ReadonlyMap<string, Node> {
  const found = new Map<string, Node>();
  for (const entry of children(node)) {
    const [key, value, ...more] = children(expect(entry, Tag.sequence));
    const name = oid(key);
    if (value === undefined || more.length > 0 || found.has(name)) throw new BadDer("its fields");
    found.set(name, value);
  }
  return found;
}

function octets(node: Node | undefined, size: number): string {
  const { value } = expect(node, Tag.octetString);
  if (value.length !== size) throw new BadDer("an id has a wrong length");
  return toHex(value);
}
