/** What a quote must say to speak for a keyset (SPEC 13.5). */

import { sha512 } from "@noble/hashes/sha2.js";
import { type Bytes, concat, utf8 } from "../bytes.js";
import { digest } from "../canonical.js";
import type { GpuEvidence } from "./documents.js";

const REPORT_LABEL = utf8("bombyx/1/report\0");

/** 64 bytes for the CPU's quote; without GPUs the hash of `[]` stands in. */
export function reportData(keysetDigest: Bytes, gpus: readonly GpuEvidence[]): Bytes {
  return sha512(concat(REPORT_LABEL, keysetDigest, digest(gpus)));
}
