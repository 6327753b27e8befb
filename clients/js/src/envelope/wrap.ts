/**
 * Wrapping the secrets of a request to one worker (SPEC 2.9; RFC 9180): ML-KEM-768 with X25519.
 * Where the platform has the KEM itself it is used; elsewhere noble's is loaded at first need.
 */

import {
  AEAD_AES_256_GCM,
  CipherSuite,
  KDF_HKDF_SHA256,
  KEM_MLKEM768_X25519 as NATIVE,
} from "hpke";
import { type Bytes, concat, utf8 } from "../bytes.js";
import { BombyxError } from "../errors.js";

export const PUBLIC_KEY_BYTES = 1216;
/** 1120 bytes of encapsulation, 64 of plaintext, 16 of tag. */
export const WRAP_BYTES = 1200;
const WRAP_LABEL = utf8("bombyx/1/wrap\0");

type Supports = (operation: string, algorithm: string) => boolean;

let suite: Promise<CipherSuite> | undefined;

/** The KEM can be asked for by name only where browsers have `SubtleCrypto.supports`. */
function hasNativeKem(): boolean {
  const known: typeof SubtleCrypto & { supports?: Supports } = globalThis.SubtleCrypto;
  return known?.supports?.("generateKey", "MLKEM768-X25519") ?? false;
}

async function makeSuite(): Promise<CipherSuite> {
  const kem = hasNativeKem() ? NATIVE : (await import("./kem-noble.js")).KEM_MLKEM768_X25519;
  return new CipherSuite(kem, KDF_HKDF_SHA256, AEAD_AES_256_GCM);
}

function hybridSuite(): Promise<CipherSuite> {
  suite ??= makeSuite();
  return suite;
}

/** What a wrap is bound to: worker id, header hash, commitment; 32 bytes each. */
export function wrapInfo(worker: Bytes, h: Bytes, c: Bytes): Bytes {
  return concat(WRAP_LABEL, worker, h, c);
}

/** Seal two secrets to a worker; throws `cannot_open` for a key that cannot be used. */
export async function wrap(plaintext: Bytes, publicKey: Bytes, info: Bytes): Promise<Bytes> {
  const hpke = await hybridSuite();
  try {
    const key = await hpke.DeserializePublicKey(publicKey);
    const { encapsulatedSecret, ciphertext } = await hpke.Seal(key, plaintext, { info });
    return concat(encapsulatedSecret, ciphertext);
  } catch {
    throw new BombyxError("cannot_open", "the HPKE public key is unusable");
  }
}
