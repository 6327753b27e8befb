/** Restricted JSON in its one canonical form (SPEC 1.6; RFC 8785 on this subset). */

import { sha256 } from "@noble/hashes/sha2.js";
import { type Bytes, equal, text, toHex, utf8 } from "./bytes.js";
import { BombyxError } from "./errors.js";
import { asRecord, Misfit, type Schema } from "./schema.js";

/** Keys sorted at every level; absent fields stay absent. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  const record = asRecord(value);
  if (record === undefined) return value;
  const keys = Object.keys(record).filter((key) => record[key] !== undefined);
  return Object.fromEntries(keys.sort().map((key) => [key, sorted(record[key])]));
}

/** Canonical bytes of a document. */
export function encode(document: unknown): Bytes {
  return utf8(JSON.stringify(sorted(document)));
}

export function digest(document: unknown): Bytes {
  return sha256(encode(document));
}

export function digestHex(document: unknown): string {
  return toHex(digest(document));
}

/** Read JSON of a document's shape in any spelling; throws `Misfit` or `SyntaxError`. */
export function read<T>(bytes: Uint8Array, schema: Schema<T>): T {
  return schema(JSON.parse(text(bytes)), "");
}

/** Read a document, refusing all but its canonical bytes with `not_canonical`. */
export function decode<T>(bytes: Uint8Array, schema: Schema<T>): T {
  let document: T;
  try {
    document = read(bytes, schema);
  } catch (error) {
    const why = error instanceof Misfit ? `: ${error.message}` : "";
    throw new BombyxError("not_canonical", `the document has another form${why}`);
  }
  if (!equal(encode(document), bytes)) {
    throw new BombyxError("not_canonical", "the document is not in canonical form");
  }
  return document;
}
