/** The shapes that text and numbers must have on the wire (SPEC 1.6). */

import { integer, string } from "./schema.js";

export const MAX_NANO = 10n ** 18n - 1n;

export const count = integer(0, Number.MAX_SAFE_INTEGER);
export const nanoText = string(/^(?:0|[1-9][0-9]{0,17})$/);
export const hex16 = string(/^[0-9a-f]{32}$/);
export const hex32 = string(/^[0-9a-f]{64}$/);
export const hex64 = string(/^[0-9a-f]{128}$/);
/** Model and key names: printable, no spaces, safe in logs and URLs. */
export const name = string(/^[A-Za-z0-9._:/@+-]+$/, { min: 1, max: 128 });
