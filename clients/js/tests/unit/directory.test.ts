/** A directory with vendors' documents beside its entries is read as one without (SPEC 17.10). */

import assert from "node:assert/strict";
import { test } from "node:test";
import { directory } from "../../src/attestation/documents.js";
import { directoryOf } from "./peer.js";

const NAME = "sev-snp/genoa/vcek";

function withNames(names: unknown): unknown {
  const { workers } = directory(directoryOf({}), "");
  return workers.map((entry) => ({ ...entry, vendor: names }));
}

test("documents beside the entries are taken, and are of the right form", () => {
  const read = directory(directoryOf({ workers: withNames([NAME]), vendor: { [NAME]: "{}" } }), "");
  assert.deepEqual(read.vendor?.get(NAME), "{}");
  assert.ok(read.workers.every((entry) => entry.vendor?.[0] === NAME));
  assert.equal(directory(directoryOf({}), "").vendor, undefined);
  const names = Array.from({ length: 18 }, () => NAME);
  for (const changes of [
    { workers: withNames(names) },
    { workers: withNames([1]) },
    { vendor: [NAME] },
    { vendor: { [NAME]: 1 } },
  ]) {
    assert.throws(() => directoryOf(changes), / is not /);
  }
});
