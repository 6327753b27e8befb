/** Opening wraps in a test, as a worker does: HPKE's receiver with a key made of two seeds. */

import { x25519 } from "@noble/curves/ed25519.js";
import { sha3_256 } from "@noble/hashes/sha3.js";
import { ml_kem768 } from "@noble/post-quantum/ml-kem.js";
import { KEM_MLKEM768_X25519 } from "@panva/hpke-noble";
import { AEAD_AES_256_GCM, CipherSuite, KDF_HKDF_SHA256, type Key } from "hpke";
import { type Bytes, concat, utf8 } from "../../src/bytes.js";

const MLKEM_CIPHERTEXT = 1088;
const ENCAPSULATION = 1120;
const LABEL = utf8("\\.//^\\");

/** The shared secret of ML-KEM-768 with X25519 (draft-ietf-hpke-pq, X-Wing's combiner). */
function decapsulate(encapsulated: Uint8Array, seeds: Bytes): Bytes {
  const [mlkemSeed, curveKey] = [seeds.subarray(0, 64), seeds.subarray(64)];
  const ciphertext = encapsulated.slice(0, MLKEM_CIPHERTEXT);
  const point = encapsulated.slice(MLKEM_CIPHERTEXT);
  const { secretKey } = ml_kem768.keygen(mlkemSeed);
  return sha3_256(
    concat(
      ml_kem768.decapsulate(ciphertext, secretKey),
      x25519.getSharedSecret(curveKey, point),
      point,
      x25519.getPublicKey(curveKey),
      LABEL,
    ),
  );
}

/** The public key to two seeds: 1216 bytes. */
export function publicKey(seeds: Bytes): Bytes {
  const { publicKey: kem } = ml_kem768.keygen(seeds.subarray(0, 64));
  return concat(kem, x25519.getPublicKey(seeds.subarray(64)));
}

/** Open a wrap with 64 bytes of ML-KEM seed and 32 of X25519 key. */
export async function openWrap(wrap: Bytes, seeds: Bytes, info: Bytes): Promise<Bytes> {
  const kem = () => ({
    ...KEM_MLKEM768_X25519(),
    Decap: async (encapsulated: Uint8Array) => decapsulate(encapsulated, seeds),
  });
  const suite = new CipherSuite(kem, KDF_HKDF_SHA256, AEAD_AES_256_GCM);
  const key: Key = { algorithm: { name: "MLKEM768-X25519" }, extractable: false, type: "private" };
  const [encapsulated, sealed] = [wrap.slice(0, ENCAPSULATION), wrap.slice(ENCAPSULATION)];
  return new Uint8Array(await suite.Open(key, encapsulated, sealed, { info }));
}
