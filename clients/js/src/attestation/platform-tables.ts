/**
 * The tables of a policy about real platforms (SPEC 17.3), as its hash takes them: every key with
 * its default, but for lists that nobody asks for. This client verifies none of these platforms; it
 * reads them so that a policy is the same policy here as everywhere.
 */

import { BombyxError } from "../errors.js";
import type { Table } from "./policy-table.js";
import { TCB_STATUSES } from "./presets.js";

const DIGEST = 32;
const MEASUREMENT = 48;
const CONFIG = 144;
const PLATFORM = 16;
const CHIP = 64;
const MAX_SPL = 255;
const PCRS = 24;
const ADVISORY = /^[A-Z0-9-]{1,64}$/;
const VBIOS = /^[0-9A-F]{2}(\.[0-9A-F]{2}){4}$/;
const VERSION = /^[0-9]{1,5}(\.[0-9]{1,5}){1,3}$/;
const GENERATIONS = ["milan", "genoa", "turin"] as const;
const SIGNING_KEYS = ["vcek", "vlek"] as const;
const ARCHITECTURES = ["blackwell", "hopper", "ls10"] as const;
const TCB_PARTS = ["bl", "tee", "snp", "ucode", "fmc"] as const;

/** One table with its defaults filled in. */
export type Rules = Readonly<Record<string, unknown>>;

const READERS = { tdx, snp, nvidia, vtpm } as const;
export type PlatformTable = keyof typeof READERS;

/** Those of the named tables that the policy has. */
export function platformRules(
  table: Table,
  names: readonly PlatformTable[],
): Partial<Record<PlatformTable, Rules>> {
  const present = names.filter((name) => table.has(name));
  return Object.fromEntries(
    present.map((name) => {
      const inner = table.table(name);
      const rules = READERS[name](inner);
      inner.finish();
      return [name, rules];
    }),
  );
}

function tdx(table: Table): Rules {
  return {
    accepted_tcb: table.has("accepted_tcb")
      ? table.choices("accepted_tcb", TCB_STATUSES)
      : ["UpToDate"],
    rejected_advisories: table.texts("rejected_advisories", ADVISORY),
    grace_seconds: table.count("grace_seconds", 0),
    min_evaluation: table.count("min_evaluation", 0),
    td_attributes: table.bits("td_attributes", "0xd0000000"),
    xfam: table.bits("xfam", "0xe5ae7"),
    ...table.listed("images", DIGEST),
    ...table.listed("mr_config", CONFIG),
    ...table.listed("platforms", PLATFORM),
    ...Object.assign(
      {},
      ...["mr_seam", "mr_td", "rtmr0", "rtmr1", "rtmr2", "rtmr3"].map((name) =>
        table.listed(name, MEASUREMENT),
      ),
    ),
  };
}

function snp(table: Table): Rules {
  return {
    generations: table.has("generations")
      ? table.choices("generations", GENERATIONS)
      : ["genoa", "turin"],
    signing_keys: table.has("signing_keys")
      ? table.choices("signing_keys", SIGNING_KEYS)
      : SIGNING_KEYS,
    min_tcb: floor(table.table("min_tcb")),
    guest_policy: table.bits("guest_policy", "0x0"),
    platform_info: table.bits("platform_info", "0x0"),
    max_vmpl: table.count("max_vmpl", 0),
    require_revocation: table.flag("require_revocation"),
    ...table.listed("measurements", MEASUREMENT),
    ...table.listed("host_data", DIGEST),
    ...table.listed("id_keys", MEASUREMENT),
    ...table.listed("platforms", CHIP),
  };
}

function floor(table: Table): Readonly<Record<string, number>> {
  const present = TCB_PARTS.filter((part) => table.has(part));
  const found = present.map((part) => [part, table.count(part, 0)] as const);
  table.finish();
  if (found.some(([, value]) => value > MAX_SPL)) {
    throw new BombyxError("policy_error", "policy: snp.min_tcb holds numbers of one byte");
  }
  return Object.fromEntries(found);
}

function nvidia(table: Table): Rules {
  return {
    architectures: table.has("architectures")
      ? table.choices("architectures", ARCHITECTURES)
      : ARCHITECTURES,
    ...(table.has("count") ? { count: table.count("count", 0) } : {}),
    ...(table.has("min_driver") ? { min_driver: version(table) } : {}),
    ...(table.has("vbios") ? { vbios: table.texts("vbios", VBIOS) } : {}),
    ...table.listed("devices", DIGEST),
    require_firmware: table.flag("require_firmware"),
    require_revocation: table.flag("require_revocation"),
  };
}

function version(table: Table): string {
  const text = table.text("min_driver");
  if (VERSION.test(text)) return text;
  const why = "policy: nvidia.min_driver must be a version like 550.90.07";
  throw new BombyxError("policy_error", why);
}

function vtpm(table: Table): Rules {
  const keys = table.hexes("keys", DIGEST);
  const inner = table.table("pcrs");
  const numbers = Array.from({ length: PCRS }, (_, number) => String(number));
  const present = numbers.filter((number) => inner.has(number));
  const pcrs = Object.fromEntries(present.map((number) => [number, inner.hexes(number, DIGEST)]));
  inner.finish();
  return { keys, pcrs };
}
