/**
 * What a verifier accepts: one frozen value, read from a table and hashed (SPEC 17.3). There is no
 * default that allows: an absent or empty list denies, an unknown key is refused with its name.
 */

import { digestHex } from "../canonical.js";
import { BombyxError } from "../errors.js";
import { PLATFORMS, type Platform } from "./documents.js";
import { type PlatformTable, platformRules, type Rules } from "./platform-tables.js";
import { Table } from "./policy-table.js";
import { expand, type PresetName, TCB_STATUSES, type TcbStatus } from "./presets.js";

export { type PresetName, TCB_STATUSES, type TcbStatus };

const POLICY_VERSION = 1;
const DIGEST_BYTES = 32;
const MEASUREMENT_BYTES = 48;

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

/** Which gateways prove themselves (SPEC 17.11): their platforms and rules, as for workers. */
export interface GatewayRules {
  readonly platforms: readonly Platform[];
  readonly simulated: SimulatedRules;
  readonly tdx?: Rules;
  readonly snp?: Rules;
  readonly vtpm?: Rules;
}

declare const checked: unique symbol;

/** What one verifier accepts; only `parsePolicy` makes one. Lists are sorted. */
export interface Policy {
  readonly version: number;
  readonly network: (typeof NETWORKS)[number];
  readonly platforms: readonly Platform[];
  /** Pinned gateway identity keys; absent pins none, an empty list allows none. */
  readonly gateways?: readonly string[];
  /** Channel keys of gateways that may be paid (SPEC 7.8); absent is nobody. */
  readonly channel_keys?: readonly string[];
  readonly simulated: SimulatedRules;
  readonly models: readonly ModelRules[];
  readonly tdx?: Rules;
  readonly snp?: Rules;
  readonly nvidia?: Rules;
  readonly vtpm?: Rules;
  readonly gateway?: GatewayRules;
  readonly [checked]: true;
}

/** A policy as an application writes it down: SPEC 17.3's tables as an object. */
export interface PolicyTable {
  readonly version: 1;
  /** What counts where the table says nothing, key by key. */
  readonly preset?: PresetName;
  /** Required, unless the preset has it. */
  readonly network?: (typeof NETWORKS)[number];
  readonly platforms?: readonly Platform[];
  readonly gateways?: readonly string[];
  readonly channel_keys?: readonly string[];
  readonly simulated?: {
    readonly roots?: readonly string[];
    readonly mr_td?: readonly string[];
    readonly accepted_tcb?: readonly TcbStatus[];
  };
  readonly models?: Readonly<
    Record<string, { readonly weights?: readonly string[]; readonly engines?: readonly string[] }>
  >;
  /** Rules for platforms that this client does not verify; docs/attestation.md names their keys. */
  readonly tdx?: Rules;
  readonly snp?: Rules;
  readonly nvidia?: Rules;
  readonly vtpm?: Rules;
  readonly gateway?: Rules;
}

const OF_WORKERS: readonly PlatformTable[] = ["tdx", "snp", "nvidia", "vtpm"];
const OF_GATEWAYS: readonly PlatformTable[] = ["tdx", "snp", "vtpm"];

/**
 * Read a policy, or a preset by its name; throws `policy_error` naming the key that is unknown,
 * missing or misspelt.
 */
export function parsePolicy(source: unknown): Policy {
  const table = new Table(expand(source));
  if (table.integer("version") !== POLICY_VERSION) {
    throw new BombyxError("policy_error", `policy: version must be ${POLICY_VERSION}`);
  }
  const channelKeys = table.hexes("channel_keys", DIGEST_BYTES);
  const policy = {
    version: POLICY_VERSION,
    network: table.choice("network", NETWORKS),
    platforms: table.choices("platforms", PLATFORMS),
    ...(table.has("gateways") ? { gateways: table.hexes("gateways", DIGEST_BYTES) } : {}),
    ...(channelKeys.length ? { channel_keys: channelKeys } : {}),
    simulated: simulatedRules(table.table("simulated")),
    models: modelRules(table.table("models")),
    ...platformRules(table, OF_WORKERS),
    ...(table.has("gateway") ? { gateway: gatewayRules(table.table("gateway")) } : {}),
  };
  table.finish();
  const named = [...policy.platforms, ...(policy.gateway?.platforms ?? [])];
  if (policy.network === "mainnet" && named.includes("simulated")) {
    const why = "platforms names `simulated`, which protects nothing; mainnet cannot accept it";
    throw new BombyxError("policy_error", `policy: ${why}`);
  }
  return Object.freeze(policy) as Policy; // the brand says that the lines above were passed
}

function gatewayRules(table: Table): GatewayRules {
  const rules = {
    platforms: table.choices("platforms", PLATFORMS),
    simulated: simulatedRules(table.table("simulated")),
    ...platformRules(table, OF_GATEWAYS),
  };
  table.finish();
  return rules;
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
