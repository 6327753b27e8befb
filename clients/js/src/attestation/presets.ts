/** Policies that have a name: what a policy may start from, or be replaced by (SPEC 17.3). */

import { BombyxError } from "../errors.js";
import { asRecord } from "../schema.js";
import { PLATFORMS } from "./documents.js";

/** Whose memory is closed to the machine's owner. */
const HARDWARE: readonly string[] = ["tdx", "sev-snp"];

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

export const PRESET_NAMES = ["hardware-strict", "hardware", "development"] as const;
export type PresetName = (typeof PRESET_NAMES)[number];

const UP_TO_DATE = { accepted_tcb: ["UpToDate"] };

const PRESETS: Readonly<Record<PresetName, Readonly<Record<string, unknown>>>> = {
  "hardware-strict": {
    network: "mainnet",
    platforms: HARDWARE,
    tdx: UP_TO_DATE,
    snp: {
      signing_keys: ["vcek"],
      guest_policy: "0x2000000", // the host may not move the guest's pages (Heracles)
      platform_info: "0x20", // the firmware looked for aliased memory (BadRAM)
      require_revocation: true,
    },
    nvidia: { require_firmware: true, require_revocation: true },
  },
  hardware: { network: "mainnet", platforms: HARDWARE, tdx: UP_TO_DATE, snp: {}, nvidia: {} },
  development: {
    network: "local",
    platforms: PLATFORMS,
    simulated: UP_TO_DATE,
    tdx: { accepted_tcb: TCB_STATUSES, grace_seconds: Number.MAX_SAFE_INTEGER },
    snp: { generations: ["milan", "genoa", "turin"] },
    nvidia: {},
  },
};

/** Whether a policy was named and not written down. */
export function isPreset(name: unknown): name is PresetName {
  return PRESET_NAMES.some((one) => one === name);
}

/** A policy's table with what its `preset` says wherever it says nothing itself, key by key. */
export function expand(source: unknown): unknown {
  const own = asRecord(isPreset(source) ? { version: 1, preset: source } : source);
  if (own === undefined || !Object.hasOwn(own, "preset")) return source;
  const { preset: name, ...rest } = own;
  if (!isPreset(name)) {
    throw new BombyxError("policy_error", `policy: preset must be of ${PRESET_NAMES.join(", ")}`);
  }
  const base = PRESETS[name];
  const merged = Object.entries(rest).map(([key, value]) => [key, overlaid(base[key], value)]);
  const whole = { ...base, ...Object.fromEntries(merged) };
  if (name !== "development") {
    refuseOthers(name, whole["platforms"]);
    refuseOthers(name, asRecord(whole["gateway"])?.["platforms"]);
  }
  return whole;
}

function overlaid(base: unknown, own: unknown): unknown {
  const [below, above] = [asRecord(base), asRecord(own)];
  return below === undefined || above === undefined ? own : { ...below, ...above };
}

function refuseOthers(name: PresetName, platforms: unknown): void {
  if (!Array.isArray(platforms)) return; // refused by the parser, with its own sentence
  const other = PLATFORMS.find((one) => !HARDWARE.includes(one) && platforms.includes(one));
  if (other !== undefined) {
    const why = "which keeps nothing from the machine's owner";
    throw new BombyxError(
      "policy_error",
      `policy: platforms names \`${other}\`, ${why}; the preset \`${name}\` never accepts it`,
    );
  }
}
