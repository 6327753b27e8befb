/** Policies in TOML, as `bombyx up` writes them; apart, since a page rarely needs the parser. */

import { parse } from "smol-toml";
import type { Policy } from "./attestation/policy.js";
import { readPolicy } from "./client/fetch.js";
import { BombyxError } from "./errors.js";

/** Read a policy in TOML; throws `policy_error`. */
export function parsePolicyToml(text: string): Policy {
  let table: unknown;
  try {
    table = parse(text);
  } catch {
    throw new BombyxError("policy_error", "policy: it is no TOML");
  }
  return readPolicy(table);
}
