/** The small documents inside response frames (SPEC 3.5, 3.8). */

import { array, boolean, type Infer, integer, object, pair, string } from "../schema.js";
import { count, hex32 } from "../units.js";

const headerText = string(/^[\x20-\x7e]*$/, { max: 1024 });

/** Status and headers of the model's answer, as (lower-case name, value) pairs. */
export const responseHead = object({
  status: integer(200, 599),
  headers: array(pair(headerText, headerText), { max: 32 }),
});
export type ResponseHead = Infer<typeof responseHead>;

/** The end of an answer: hash of its final statement, plaintext bytes of all data frames. */
export const streamEnd = object({ statement: hex32, bytes: count });
export type StreamEnd = Infer<typeof streamEnd>;

/** The gateway's clear word on why a stream broke off; nothing vouches for it. */
export const relayNote = object({
  code: string(/^[a-z0-9_]+$/, { max: 64 }),
  retryable: boolean,
});
