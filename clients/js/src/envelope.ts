/** The sealed envelope alone, for those who bring their own transport. */

export { type Header, hashHeader, parseHeader } from "./envelope/header.js";
export { type Opened, ResponseOpener } from "./envelope/opener.js";
export {
  type Entropy,
  encodeRequest,
  type SealedRequest,
  type SealingMaterial,
  sealRequest,
} from "./envelope/request.js";
export { BombyxError } from "./errors.js";
export { Payer } from "./signing.js";
