/** A real page in headless Chromium loads the bundle and streams a sealed answer. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { type BrowserContext, chromium } from "playwright-core";
import { parse } from "smol-toml";
import { chromiumPath } from "./chromium.js";
import { type Network, startNetwork } from "./network.js";
import type { Seen, Wish } from "./page.js";
import { allowsOtherOrigins, type Site, serve } from "./site.js";

const executablePath = chromiumPath();
const missing = executablePath === undefined && process.env["CI"] === undefined;
const skip = missing && "no Chromium on the PATH: apt-get install chromium";
const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

let network: Network;
let site: Site;
let context: BrowserContext;
let folder: string;

before(async () => {
  if (skip !== false) return;
  if (executablePath === undefined) throw new Error("Chromium must be there where CI is set");
  folder = mkdtempSync(join(tmpdir(), "bombyx-page-"));
  const page = fileURLToPath(new URL("page.js", import.meta.url));
  const outdir = join(folder, "site");
  const shape = { bundle: true, format: "esm", splitting: true, minify: true } as const;
  await build({ entryPoints: [page], outdir, platform: "browser", logLevel: "error", ...shape });
  network = await startNetwork();
  site = await serve(outdir, network.gateway);
  const profile = join(folder, "profile");
  context = await chromium.launchPersistentContext(profile, {
    executablePath,
    headless: true,
    args: ARGUMENTS,
  });
});

after(async () => {
  await context?.close();
  await site?.stop();
  await network?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

async function ask(withoutNativeKem: boolean): Promise<{ seen: Seen; loaded: readonly string[] }> {
  const page = await context.newPage();
  const loaded: string[] = [];
  page.on("request", (request) => loaded.push(request.url()));
  if (withoutNativeKem) {
    await page.addInitScript(() => Object.assign(SubtleCrypto, { supports: undefined }));
  }
  await page.goto(site.url);
  await page.waitForFunction(() => "ask" in globalThis);
  // A gateway without CORS can only be reached on the page's own origin.
  const gateway = (await allowsOtherOrigins(network.gateway)) ? network.gateway : site.url;
  const { apiKey, model } = network;
  const policy = parse(network.policy) as unknown as Wish["policy"];
  const wish: Wish = { policy, baseURL: `${gateway}/v1`, apiKey, model };
  const seen = await page.evaluate(
    (given) => (globalThis as unknown as { ask: (wish: Wish) => Promise<Seen> }).ask(given),
    wish,
  );
  await page.close();
  return { seen, loaded };
}

for (const withoutNativeKem of [false, true]) {
  const how = withoutNativeKem ? "with noble's KEM" : "with the browser's own KEM";
  test(`a page streams a sealed answer ${how}`, { skip }, async () => {
    const { seen, loaded } = await ask(withoutNativeKem);
    assert.match(seen.text, /1 2 3 4 5 .*20/);
    assert.ok(seen.chunks > 3);
    assert.equal(seen.receipts, 1);
    assert.equal((seen.usage as { bombyx: { verified: boolean } }).bombyx.verified, true);
    assert.equal(seen.refusal, "no_verified_worker");
    const lazy = loaded.filter((url) => url.includes("kem-noble"));
    assert.equal(lazy.length, withoutNativeKem ? 1 : 0);
  });
}
