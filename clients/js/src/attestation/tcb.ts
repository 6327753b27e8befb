/** Which patch level a platform has, and what its vendor says of that level (Intel TDX DCAP). */

import { toHex } from "../bytes.js";
import type { TcbStatus } from "./policy.js";
import type { PckPlatform } from "./sgx-extension.js";
import { refused, type StepName } from "./steps.js";
import type { TdxQuote } from "./tdx-quote.js";
import { agrees, type EnclaveIdentity, type TcbInfo, type VendorStatus } from "./vendor.js";

const TCB: StepName = "tcb_status";
const MISCSELECT = [16, 20] as const;
const ATTRIBUTES = [48, 64] as const;
const MRSIGNER = [128, 160] as const;
const ISV_PRODUCT = 256;
const ISV_SVN = 258;

/** The vendor's word on a platform: worst of platform, quoting enclave and TDX module. */
export interface Standing {
  readonly status: TcbStatus;
  readonly advisories: readonly string[];
}

interface Level {
  readonly status: VendorStatus;
  readonly advisories: readonly string[];
}

interface IsvLevel {
  readonly tcb: { readonly isvsvn: number };
  readonly tcbStatus: VendorStatus;
  readonly advisoryIDs?: readonly string[];
}

function matchIsv(levels: readonly IsvLevel[], svn: number, what: string): Level {
  const level = levels.find((one) => one.tcb.isvsvn <= svn);
  if (level === undefined) throw refused(TCB, `the ${what} is older than any known`);
  return { status: level.tcbStatus, advisories: level.advisoryIDs ?? [] };
}

/** The quoting enclave is the vendor's; throws at `quote_signature`. */
function enclaveLevel(report: Uint8Array<ArrayBuffer>, identity: EnclaveIdentity): Level {
  const view = new DataView(report.buffer, report.byteOffset, report.length);
  const part = ([from, to]: readonly [number, number]) => report.slice(from, to);
  // DCAP writes MISCSELECT as a number: most significant byte first, the report last.
  const miscselect = part(MISCSELECT).reverse();
  const right =
    agrees(miscselect, identity.miscselectMask, identity.miscselect) &&
    agrees(part(ATTRIBUTES), identity.attributesMask, identity.attributes) &&
    toHex(part(MRSIGNER)) === identity.mrsigner.toLowerCase() &&
    view.getUint16(ISV_PRODUCT, true) === identity.isvprodid;
  if (!right) throw refused("quote_signature", "the quoting enclave is not the vendor's");
  return matchIsv(identity.tcbLevels, view.getUint16(ISV_SVN, true), "quoting enclave");
}

/** The TDX module is one that the vendor knows; a level of its own where it has one. */
function moduleLevel(quote: TdxQuote, info: TcbInfo): Level | undefined {
  const [svn = 0, version = 0] = quote.teeTcbSvn;
  const id = `TDX_${version.toString(16).padStart(2, "0").toUpperCase()}`;
  const identity = info.tdxModuleIdentities?.find((one) => one.id === id);
  if (version > 0 && identity === undefined) throw refused(TCB, "the TDX module is unknown");
  const said = version > 0 && identity !== undefined ? identity : info.tdxModule;
  const right =
    toHex(quote.mrSignerSeam) === said.mrsigner.toLowerCase() &&
    agrees(quote.seamAttributes, said.attributesMask, said.attributes);
  if (!right) throw refused("quote_signature", "the TDX module is not the vendor's");
  return version > 0 && identity !== undefined
    ? matchIsv(identity.tcbLevels, svn, "TDX module")
    : undefined;
}

function platformLevel(quote: TdxQuote, info: TcbInfo, platform: PckPlatform): Level {
  const [, moduleVersion = 0] = quote.teeTcbSvn;
  const from = moduleVersion > 0 ? 2 : 0; // the module's own level speaks for the first two
  const level = info.tcbLevels.find(
    ({ tcb }) =>
      platform.pceSvn >= tcb.pcesvn &&
      tcb.sgxtcbcomponents.every(({ svn }, at) => (platform.cpuSvn[at] ?? -1) >= svn) &&
      tcb.tdxtcbcomponents.every(({ svn }, at) => at < from || (quote.teeTcbSvn[at] ?? -1) >= svn),
  );
  if (level === undefined) throw refused(TCB, "the patch level is older than any known");
  return { status: level.tcbStatus, advisories: level.advisoryIDs ?? [] };
}

/** A platform's status once part of it is out of date (Intel's QVL merges so). */
const OUT_OF_DATE: Readonly<Record<TcbStatus, TcbStatus>> = {
  UpToDate: "OutOfDate",
  SWHardeningNeeded: "OutOfDate",
  OutOfDate: "OutOfDate",
  ConfigurationNeeded: "OutOfDateConfigurationNeeded",
  ConfigurationAndSWHardeningNeeded: "OutOfDateConfigurationNeeded",
  OutOfDateConfigurationNeeded: "OutOfDateConfigurationNeeded",
};

function isKnown(status: VendorStatus): status is TcbStatus {
  return Object.hasOwn(OUT_OF_DATE, status);
}

/** What the vendor says of quote and platform; throws where it knows no level or revoked it. */
export function standing(
  quote: TdxQuote,
  info: TcbInfo,
  identity: EnclaveIdentity,
  platform: PckPlatform,
): Standing {
  const enclave = enclaveLevel(quote.qeReport, identity);
  const module = moduleLevel(quote, info);
  const own = platformLevel(quote, info, platform);
  const parts = module === undefined ? [enclave] : [enclave, module];
  const levels = [own, ...parts];
  if (levels.some(({ status }) => status === "Revoked")) {
    throw refused("tcb_not_revoked", "the patch level is revoked");
  }
  const strange = parts.some(({ status }) => status !== "UpToDate" && status !== "OutOfDate");
  if (strange || !isKnown(own.status)) throw refused(TCB, "the patch level has an unknown status");
  const old = parts.some(({ status }) => status === "OutOfDate");
  return {
    status: old ? OUT_OF_DATE[own.status] : own.status,
    advisories: [...new Set(levels.flatMap(({ advisories }) => advisories))],
  };
}
