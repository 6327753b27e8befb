/** Policies (SPEC 17.3): what is not named is denied, what is not known is refused. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { parsePolicy, policyHash } from "../../src/attestation/policy.js";
import { readPolicy } from "../../src/client/fetch.js";
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
