/** The verifier comes to the result that Python's comes to, on mutations that both read. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Collateral, Evidence, Keyset } from "../../src/attestation/documents.js";
import { parsePolicy } from "../../src/attestation/policy.js";
import {
  examine,
  type Offered,
  VerifiedWorker,
  verifyWorker,
} from "../../src/attestation/verify.js";
import { fromBase64, toBase64 } from "../../src/bytes.js";
import { digestHex } from "../../src/canonical.js";
import { type JsonObject, load } from "./vectors.js";

const file = load("evidence");
const [now, policyTable] = [file.at("now").number, file.at("policy").object];
const honest = {
  keyset: file.at("keyset").object,
  evidence: file.at("evidence").object,
  collateral: file.at("collateral").object,
};
const policy = parsePolicy(policyTable);

interface Keep {
  readonly keep: readonly [number, number];
  readonly put: string;
}

function changed(base: JsonObject, changes: JsonObject): JsonObject {
  const fields: Record<string, unknown> = { ...base };
  for (const [name, change] of Object.entries(changes)) {
    if (change === null) delete fields[name];
    else if (typeof change === "object" && "keep" in change) {
      const { keep, put } = change as unknown as Keep;
      const text = String(base[name]);
      fields[name] = text.slice(0, keep[0]) + put + text.slice(text.length - keep[1]);
    } else fields[name] = change;
  }
  return fields as JsonObject;
}

/** The documents are mutated on purpose: that they have their types is the verifier's to check. */
function offered(changes: JsonObject): Offered {
  const part = (name: "keyset" | "evidence" | "collateral"): JsonObject | undefined => {
    const change = changes[name] ?? (name in changes ? null : {});
    return change === null ? undefined : changed(honest[name], change as JsonObject);
  };
  return {
    keyset: part("keyset") as unknown as Keyset,
    evidence: part("evidence") as unknown as Evidence,
    collateral: part("collateral") as unknown as Collateral | undefined,
  };
}

async function result(changes: JsonObject): Promise<string> {
  const rules = changes["policy"] as JsonObject | undefined;
  const under = rules === undefined ? policy : parsePolicy({ ...policyTable, ...rules });
  const at = typeof changes["now"] === "number" ? changes["now"] : now;
  const { refusal } = await examine(offered(changes), under, at);
  return refusal?.name ?? "verified";
}

for (const entry of file.at("cases").items) {
  test(`evidence: ${entry.at("name").text}`, async () => {
    assert.equal(await result(entry.object), entry.at("expected").text);
  });
}

test("every changed bit of a quote is refused", async () => {
  const quote = fromBase64(file.at("evidence", "quote").text);
  let same = 0;
  const lines = file.at("sweeps", "quote").items;
  for (const line of lines) {
    const [at, bit] = [line.at(0).number, line.at(1).number];
    const bytes = quote.slice();
    bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
    const found = await result({ evidence: { quote: toBase64(bytes) } });
    assert.notEqual(found, "verified", `byte ${at}, bit ${bit}`);
    if (found === line.at(2).text) same += 1;
  }
  assert.ok(same >= 0.95 * lines.length, `${same} of ${lines.length} name the same step`);
});

test("collateral that Python refuses is refused, under its right digest", async () => {
  for (const line of file.at("sweeps", "collateral").items) {
    const [field, at] = [line.at(0).text, line.at(1).number];
    const text = String(honest.collateral[field]);
    const texts = { [field]: text.slice(0, at) + line.at(2).text + text.slice(at + 1) };
    const digest = digestHex({ ...honest.collateral, ...texts });
    const found = await result({ collateral: texts, evidence: { collateral: digest } });
    const expected = line.at(3).text;
    if (expected !== "verified") assert.notEqual(found, "verified", `${field} at ${at}`);
    // Python's library takes this chain's root from elsewhere; here it must be the pinned one.
    else if (field !== "qe_identity_issuer_chain")
      assert.equal(found, "verified", `${field} ${at}`);
  }
});

test("a verified worker is made by the verification alone", async () => {
  const worker = await verifyWorker(offered({}), policy, now);
  assert.equal(worker.id, digestHex(honest.keyset));
  assert.equal(worker.expiresAt, now + 3600);
  assert.throws(
    () => new VerifiedWorker(worker.keyset, [], {} as never, Symbol("forged")),
    TypeError,
  );
});
