/** A sealed request with all that its answer is checked against. */

import type { Bytes } from "../bytes.js";
import type { SealedRequest } from "../envelope/request.js";
import type { Chosen } from "./choice.js";

export interface Sealed {
  readonly request: SealedRequest;
  /** What is sent, now and at each retry. */
  readonly encoded: Bytes;
  /** The candidates by worker id. */
  readonly chosen: ReadonlyMap<string, Chosen>;
  readonly stream: boolean;
}

export function requestId(sealed: Sealed): string {
  return sealed.request.header.header.id;
}
