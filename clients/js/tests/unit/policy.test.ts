/** Policies (SPEC 17.3): what is not named is denied, what is not known is refused. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { parsePolicy, policyHash } from "../../src/attestation/policy.js";
import { asPolicy, readPolicy } from "../../src/client/fetch.js";
import { parsePolicyToml } from "../../src/toml.js";
import { load } from "./vectors.js";

const TABLE = load("evidence").at("policy").object;

test("equal rules are equal policies, whatever their order", () => {
  const roots = ["22".repeat(32), "11".repeat(32)];
  const one = parsePolicy({ ...TABLE, simulated: { roots } });
  const other = parsePolicy({ ...TABLE, simulated: { roots: [...roots, ...roots].reverse() } });
  assert.equal(policyHash(one), policyHash(other));
  assert.notEqual(policyHash(one), policyHash(parsePolicy(TABLE)));
});

test("keys that may be paid are part of a policy, and none is as if it said nothing", () => {
  const [one, other] = ["11".repeat(32), "22".repeat(32)];
  const paying = parsePolicy({ ...TABLE, channel_keys: [other, one, one] });
  assert.deepEqual(paying.channel_keys, [one, other]);
  assert.notEqual(policyHash(paying), policyHash(parsePolicy(TABLE)));
  const nobody = parsePolicy({ ...TABLE, channel_keys: [] });
  assert.equal(policyHash(nobody), policyHash(parsePolicy(TABLE)));
});

test("a policy in TOML is the same policy", () => {
  const models = Object.entries(TABLE["models"] as Record<string, Record<string, string[]>>);
  const lines = [
    "version = 1",
    'network = "local"',
    'platforms = ["simulated"]',
    ...Object.entries({ simulated: TABLE["simulated"] }).flatMap(([name, rules]) =>
      section(name, rules),
    ),
    ...models.flatMap(([name, rules]) => section(`models."${name}"`, rules)),
  ];
  assert.equal(policyHash(parsePolicyToml(lines.join("\n"))), policyHash(parsePolicy(TABLE)));
  assert.throws(() => parsePolicyToml("version = "), { code: "policy_error" });
});

function section(name: string, rules: unknown): readonly string[] {
  const pairs = Object.entries(rules as Record<string, unknown>);
  return [`[${name}]`, ...pairs.map(([key, value]) => `${key} = ${JSON.stringify(value)}`)];
}

const WRONG: readonly (readonly [string, unknown])[] = [
  ["it must be a table", null],
  ["version is missing", {}],
  ["version must be 1", { ...TABLE, version: 2 }],
  ["version must be an integer", { ...TABLE, version: "1" }],
  ["network must be of local, testnet, mainnet", { ...TABLE, network: "moon" }],
  ["platforms must be a list", { ...TABLE, platforms: "simulated" }],
  ["platforms must be of tdx", { ...TABLE, platforms: ["sgx"] }],
  ["unknown key allow_all", { ...TABLE, allow_all: true }],
  ["unknown key simulated.debug", { ...TABLE, simulated: { debug: true } }],
  ["simulated must be a table", { ...TABLE, simulated: [] }],
  ["simulated.roots must hold 32 bytes", { ...TABLE, simulated: { roots: ["AB".repeat(32)] } }],
  ["simulated.accepted_tcb must be of", { ...TABLE, simulated: { accepted_tcb: ["Revoked"] } }],
  ["unknown key models.smol.size", { ...TABLE, models: { smol: { size: 1 } } }],
  ["models holds a name", { ...TABLE, models: { "a b": {} } }],
  ["gateways must hold 32 bytes", { ...TABLE, gateways: ["00"] }],
  ["channel_keys must hold 32 bytes", { ...TABLE, channel_keys: ["00"] }],
  ["mainnet cannot accept it", { ...TABLE, network: "mainnet" }],
];

for (const [sentence, table] of WRONG) {
  test(`refused: ${sentence}`, () => {
    assert.throws(
      () => readPolicy(table),
      (error: Error & { code?: string }) => {
        return error.code === "policy_error" && error.message.includes(sentence);
      },
    );
  });
}

for (const [at, one] of load("policies").at("accepted").items.entries()) {
  test(`policy ${at} has the hash that every implementation gives it`, () => {
    const table = one.at("table").object;
    assert.equal(policyHash(parsePolicy(table)), one.at("hash").text);
  });
}

for (const [at, one] of load("policies").at("refused").items.entries()) {
  test(`policy ${at} is refused, and ${one.at("names").text} is named`, () => {
    assert.throws(
      () => parsePolicy(one.at("table").object),
      (error: Error & { code?: string }) =>
        error.code === "policy_error" && error.message.includes(one.at("names").text),
    );
  });
}

test("a preset may stand wherever a policy may", () => {
  const named = readPolicy("hardware");
  assert.equal(policyHash(named), policyHash(parsePolicy({ version: 1, preset: "hardware" })));
  assert.deepEqual(named.platforms, ["sev-snp", "tdx"]);
  assert.equal(asPolicy("development").network, "local");
  assert.throws(() => readPolicy("soft"), { code: "policy_error" });
});
