/** The documents that make a worker known (SPEC 1.7, 17.1): keyset, evidence, directory. */

import { signedOffer } from "../money/offer.js";
import { array, type Infer, integer, mapOf, object, oneOf, string } from "../schema.js";
import { count, hex16, hex32, hex64, name } from "../units.js";

export const PLATFORMS = ["tdx", "sev-snp", "vtpm", "simulated"] as const;
export type Platform = (typeof PLATFORMS)[number];

/** Base64 of 16 KiB: a TDX quote with its certificates has about 5 KiB. */
const MAX_QUOTE_TEXT = 22_000;
const MAX_GPU_TEXT = 33_000;
const MAX_CHAIN_TEXT = 16 * 1024;
/** Hex of half a MiB: room for a revocation list of thousands of platforms. */
const MAX_CRL_TEXT = 1024 * 1024;
const MAX_SIGNED_TEXT = 256 * 1024;
const HPKE_KEY_TEXT = 1622;
export const MAX_DIRECTORY_BYTES = 16 * 2 ** 20;

const hpkeKey = object({
  id: hex16,
  alg: oneOf("mlkem768-x25519"),
  pk: string(/^[A-Za-z0-9_-]+$/, { min: HPKE_KEY_TEXT, max: HPKE_KEY_TEXT }),
});
export type HpkeKey = Infer<typeof hpkeKey>;

const modelRecord = object({
  id: name,
  weights: hex32,
  engine: hex32,
  bytes_factor: integer(1, 64),
  overhead: integer(0, 1_000_000),
  max_image_tokens: integer(0, 1_000_000),
  context: integer(1, 100_000_000),
});
/** A served model: digests of weights and engine, and the bounds that clients reserve by. */
export type ModelRecord = Infer<typeof modelRecord>;

export const keyset = object({
  v: oneOf("bombyx/1"),
  hpke: array(hpkeKey, { min: 1, max: 4 }),
  receipt_key: hex32,
  link_key: hex32,
  not_after: count,
  boot: hex16,
  platform: oneOf(...PLATFORMS),
  models: array(modelRecord, { min: 1, max: 64 }),
  payout: string(/^[A-Za-z0-9:_-]+$/, { min: 1, max: 80 }),
});
/** What a worker is, for at most 24 hours; its digest is the worker's id. */
export type Keyset = Infer<typeof keyset>;

const gpuEvidence = object({
  arch: string(null, { max: 32 }),
  certificate: string(null, { max: MAX_GPU_TEXT }),
  report: string(null, { max: MAX_GPU_TEXT }),
});
export type GpuEvidence = Infer<typeof gpuEvidence>;

export const evidence = object(
  {
    platform: string(null, { max: 16 }),
    quote: string(null, { max: MAX_QUOTE_TEXT }),
    gpus: array(gpuEvidence, { max: 16 }),
  },
  { collateral: hex32 },
);
/** Evidence for one keyset; `collateral` names its document by digest. */
export type Evidence = Infer<typeof evidence>;

const chain = string(null, { min: 1, max: MAX_CHAIN_TEXT });
const revocations = string(/^(?:[0-9a-f]{2})+$/, { max: MAX_CRL_TEXT });
const signed = string(null, { min: 1, max: MAX_SIGNED_TEXT });

export const collateral = object({
  pck_crl_issuer_chain: chain,
  root_ca_crl: revocations,
  pck_crl: revocations,
  tcb_info_issuer_chain: chain,
  tcb_info: signed,
  tcb_info_signature: hex64,
  qe_identity_issuer_chain: chain,
  qe_identity: signed,
  qe_identity_signature: hex64,
});
/** DCAP collateral: chains in PEM, lists in hex DER, signed JSON verbatim, signatures r||s. */
export type Collateral = Infer<typeof collateral>;

const vendorName = string(null, { max: 400 });
const entry = object(
  { keyset, evidence, offers: array(signedOffer, { max: 256 }) },
  { vendor: array(vendorName, { max: 17 }) },
);
/** One worker, relayed verbatim; `vendor` names documents that bear on its evidence. */
export type Entry = Infer<typeof entry>;

export const directory = object(
  {
    gateway: hex32,
    fee_bps: count,
    default_max_output_tokens: count,
    deadline_s: count,
    now: count,
    workers: array(entry, { max: 10_000 }),
    collateral: mapOf(collateral),
  },
  // Nothing that this client verifies is judged by them: machines that want them are refused.
  { vendor: mapOf(string(null, { max: 2 * 2 ** 20 })) },
);
/** What a gateway tells of who serves a model. It vouches for nothing. */
export type Directory = Infer<typeof directory>;
