/**
 * What a verifier accepts: one frozen value, read from a table and hashed (SPEC 17.3). There is no
 * default that allows: an absent or empty list denies, an unknown key is refused with its name.
 */

import { digestHex } from "../canonical.js";
import { BombyxError } from "../errors.js";
import { PLATFORMS, type Platform } from "./documents.js";
import { Table } from "./policy-table.js";

const POLICY_VERSION = 1;
const DIGEST_BYTES = 32;
const MEASUREMENT_BYTES = 48;

/** Intel's names. `Revoked` is not among them: no policy can accept it. */
export const TCB_STATUSES = [
  "UpToDate",
  "SWHardeningNeeded",
  "ConfigurationNeeded",
  "ConfigurationAndSWHardeningNeeded",
  "OutOfDate",
  "OutOfDateConfigurationNeeded",
] as const;
export type TcbStatus = (typeof TCB_STATUSES)[number];

const NETWORKS = ["local", "testnet", "mainnet"] as const;

/** Which simulated platforms pass: SHA-256 of root certificates, images, TCB statuses. */
export interface SimulatedRules {
  readonly roots: readonly string[];
  readonly mr_td: readonly string[];
  readonly accepted_tcb: readonly TcbStatus[];
}

/** Which weights and engines may answer under a model's name (hex digests). */
export interface ModelRules {
  readonly name: string;
  readonly weights: readonly string[];
  readonly engines: readonly string[];
}

declare const checked: unique symbol;

/** What one verifier accepts; only `parsePolicy` makes one. Lists are sorted. */
export interface Policy {
  readonly version: number;
  readonly network: (typeof NETWORKS)[number];
  readonly platforms: readonly Platform[];
  /** Pinned gateway identity keys; absent pins none, an empty list allows none. */
  readonly gateways?: readonly string[];
  readonly simulated: SimulatedRules;
  readonly models: readonly ModelRules[];
  readonly [checked]: true;
}

/** A policy as an application writes it down: SPEC 17.3's tables as an object. */
export interface PolicyTable {
  readonly version: 1;
  readonly network: (typeof NETWORKS)[number];
  readonly platforms?: readonly Platform[];
  readonly gateways?: readonly string[];
  readonly simulated?: {
    readonly roots?: readonly string[];
    readonly mr_td?: readonly string[];
    readonly accepted_tcb?: readonly TcbStatus[];
  };
  readonly models?: Readonly<
    Record<string, { readonly weights?: readonly string[]; readonly engines?: readonly string[] }>
  >;
}

/** Read a policy; throws `policy_error` naming the key that is unknown, missing or misspelt. */
export function parsePolicy(source: unknown): Policy {
  const table = new Table(source);
  if (table.integer("version") !== POLICY_VERSION) {
    throw new BombyxError("policy_error", `policy: version must be ${POLICY_VERSION}`);
  }
  const policy = {
    version: POLICY_VERSION,
    network: table.choice("network", NETWORKS),
    platforms: table.choices("platforms", PLATFORMS),
    ...(table.has("gateways") ? { gateways: table.hexes("gateways", DIGEST_BYTES) } : {}),
    simulated: simulatedRules(table.table("simulated")),
    models: modelRules(table.table("models")),
  };
  table.finish();
  if (policy.network === "mainnet" && policy.platforms.includes("simulated")) {
    const why = "platforms names `simulated`, which protects nothing; mainnet cannot accept it";
    throw new BombyxError("policy_error", `policy: ${why}`);
  }
  return Object.freeze(policy) as Policy; // the brand says that the lines above were passed
}

function simulatedRules(table: Table): SimulatedRules {
  const rules = {
    roots: table.hexes("roots", DIGEST_BYTES),
    mr_td: table.hexes("mr_td", MEASUREMENT_BYTES),
    accepted_tcb: table.choices("accepted_tcb", TCB_STATUSES),
  };
  table.finish();
  return rules;
}

function modelRules(models: Table): readonly ModelRules[] {
  return models.names().map((name) => {
    const table = models.table(name);
    const weights = table.hexes("weights", DIGEST_BYTES);
    const rules = { name, weights, engines: table.hexes("engines", DIGEST_BYTES) };
    table.finish();
    return rules;
  });
}

/** Hex SHA-256 of the policy's canonical form, by which others name it. */
export function policyHash(policy: Policy): string {
  return digestHex(policy);
}
