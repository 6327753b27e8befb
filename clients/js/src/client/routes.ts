/**
 * Which requests may leave, and how (SPEC 14): sealed, or clear because they hold no secret. What
 * this does not name stays here: no body ever leaves in clear.
 */

import type { Bytes } from "../bytes.js";
import { BombyxError } from "../errors.js";
import { CHAT_PATH, parseBody, requestHead } from "./body.js";
import type { Call } from "./limits.js";

/** Dozens of images fit; far below what a worker would be asked to hold. */
const MAX_BODY_BYTES = 64 * 2 ** 20;
const VERSION = "/v1/";

/** What an SDK asked for, in clear; `origin` is all before the path from `/v1/` on. */
export interface ClearRequest {
  readonly method: string;
  readonly origin: string;
  readonly path: string;
  readonly query: string;
  readonly headers: Headers;
  readonly body: Bytes;
  readonly signal: AbortSignal;
}

export async function clearRequest(request: Request): Promise<ClearRequest> {
  const url = new URL(request.url);
  const at = Math.max(0, url.pathname.indexOf(VERSION));
  return {
    method: request.method,
    origin: url.origin + url.pathname.slice(0, at),
    path: url.pathname.slice(at),
    query: url.search,
    headers: request.headers,
    body: new Uint8Array(await request.arrayBuffer()),
    signal: request.signal,
  };
}

/** Whether the request holds nothing to protect: a GET of the API without a body. */
export function isClear({ method, path, body }: ClearRequest): boolean {
  return path.startsWith(VERSION) && method === "GET" && body.length === 0;
}

/** A request to seal; throws for all that cannot be, before anything leaves. */
export function readCall(request: ClearRequest): Call {
  const { method, path, query, headers, body: raw } = request;
  if (!path.startsWith(VERSION)) {
    throw notSealable("the URL has no /v1/: set baseURL to the gateway's, ending in /v1");
  }
  if (method !== "POST" || path !== CHAT_PATH) {
    throw notSealable(`${method} ${path} cannot be sealed, and nothing is sent in clear`);
  }
  if (query !== "") {
    throw notSealable("a query cannot be sealed, and nothing is sent in clear");
  }
  if (raw.length > MAX_BODY_BYTES) {
    throw new BombyxError("request_too_large", `a request holds at most ${MAX_BODY_BYTES} bytes`);
  }
  const [type = ""] = (headers.get("content-type") ?? "").split(";");
  if (type.trim().toLowerCase() !== "application/json") {
    throw new BombyxError("unsupported_media_type", "only application/json can be sealed");
  }
  if (!["", "identity"].includes(headers.get("content-encoding") ?? "")) {
    // Compressed before it is sealed, a body's length would tell of its content.
    throw new BombyxError("invalid_request", "a compressed body cannot be sealed");
  }
  const body = parseBody(raw);
  return { raw, body, head: requestHead(body) };
}

function notSealable(why: string): BombyxError {
  return new BombyxError("not_sealable", why);
}
