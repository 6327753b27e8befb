/** A genuine machine's quote, under Intel's root alone (SPEC 17.1). */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { sha256 } from "@noble/hashes/sha2.js";
import { verifyQuote } from "../../src/attestation/dcap.js";
import { collateral as schema } from "../../src/attestation/documents.js";
import { INTEL_SGX_ROOT } from "../../src/attestation/intel-root.js";
import { parseQuote } from "../../src/attestation/tdx-quote.js";
import { fromBase64, toHex } from "../../src/bytes.js";
import { EvidenceRefused } from "../../src/errors.js";
import { load, Node, ROOT } from "./vectors.js";

const path = new URL("tests/bombyx/attestation/data/genuine_tdx.json", ROOT);
const file = new Node(JSON.parse(readFileSync(path, "utf8")), "genuine");
const quote = fromBase64(file.at("quote").text);
const collateral = schema(file.at("collateral").object, "");
const trust = { root: INTEL_SGX_ROOT, now: file.at("now").number };

async function step(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "verified";
  } catch (error) {
    if (error instanceof EvidenceRefused) return error.step;
    throw error;
  }
}

test("the pinned root is Intel's", () => {
  const published = "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3";
  assert.equal(toHex(sha256(INTEL_SGX_ROOT)), published);
});

test("a genuine machine verifies, with the claims that Python reads", async () => {
  const claims = await verifyQuote(quote, collateral, trust);
  assert.equal(claims.status, "UpToDate");
  assert.equal(claims.fmspc, "90c06f000000");
  assert.equal(claims.evalNumber, 18);
  assert.deepEqual(claims.advisories, []);
  assert.ok(claims.expiresAt > trust.now && claims.expiresAt < trust.now + 31 * 24 * 3600);
});

test("a genuine machine is refused under another root and outside of its dates", async () => {
  const chain = load("evidence").at("collateral", "tcb_info_issuer_chain").text;
  const simulated = chain.split("-----END CERTIFICATE-----\n")[1]?.split("-----\n")[1] ?? "";
  const root = fromBase64(simulated.replaceAll("\n", ""));
  assert.equal(await step(verifyQuote(quote, collateral, { ...trust, root })), "certificate_chain");
  const late = { ...trust, now: trust.now + 40 * 24 * 3600 };
  assert.equal(await step(verifyQuote(quote, collateral, late)), "collateral_current");
  const early = { ...trust, now: trust.now - 40 * 24 * 3600 };
  assert.equal(await step(verifyQuote(quote, collateral, early)), "collateral_current");
});

test("no byte of the quote can change", async () => {
  for (let at = 0; at < quote.length; at += 41) {
    const other = quote.slice();
    other[at] = (other[at] ?? 0) ^ (1 << (at % 8));
    assert.notEqual(await step(verifyQuote(other, collateral, trust)), "verified", `byte ${at}`);
  }
});

test("no signed or signing part of the collateral can change", async () => {
  for (const [field, text] of Object.entries(collateral)) {
    if (field === "pck_crl_issuer_chain") continue; // the list is checked under the quote's chain
    for (const share of [0.2, 0.5, 0.8]) {
      const at = Math.floor(text.length * share);
      const to = text[at] === "1" ? "2" : "1";
      const other = { ...collateral, [field]: text.slice(0, at) + to + text.slice(at + 1) };
      const result = await step(verifyQuote(quote, other, trust));
      if (text[at] !== "\n") assert.notEqual(result, "verified", `${field} at ${at}`);
    }
  }
});

test("every cut of a quote is refused as malformed, and nothing else is thrown", () => {
  for (let size = 0; size < quote.length; size += 97) {
    assert.throws(() => parseQuote(quote.slice(0, size)), { step: "quote_structure" });
  }
  assert.throws(() => parseQuote(new Uint8Array(20_000)), { step: "quote_structure" });
});
