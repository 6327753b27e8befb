/** What the vendor signs about patch levels and its quoting enclave: DCAP's JSON, TDX flavour. */

import { type Bytes, fromHex, utf8 } from "../bytes.js";
import { read } from "../canonical.js";
import { array, type Infer, integer, object, oneOf, type Schema, string } from "../schema.js";
import { TCB_STATUSES } from "./policy.js";
import { refused, type StepName } from "./steps.js";

const COLLATERAL: StepName = "collateral_current";
const COMPONENTS = 16;
const MOMENT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;

const svn = integer(0, 65_535);
const moment = string(MOMENT);
const hexOf = (bytes: number): Schema<string> => string(new RegExp(`^[0-9a-fA-F]{${2 * bytes}}$`));
const status = oneOf(
  ...TCB_STATUSES,
  "Revoked",
  "TDRelaunchAdvised",
  "TDRelaunchAdvisedConfigurationNeeded",
);
const advisories = array(string(null, { max: 64 }), { max: 256 });

export type VendorStatus = Infer<typeof status>;

const isvLevel = object(
  { tcb: object({ isvsvn: svn }, {}, "ignored"), tcbStatus: status },
  { advisoryIDs: advisories },
  "ignored",
);
const isvLevels = array(isvLevel, { max: 256 });

const seam = { mrsigner: hexOf(48), attributes: hexOf(8), attributesMask: hexOf(8) };
const components = array(object({ svn }, {}, "ignored"), { min: COMPONENTS, max: COMPONENTS });

const tcbInfo = object(
  {
    id: oneOf("TDX"),
    version: integer(3, 3),
    issueDate: moment,
    nextUpdate: moment,
    fmspc: hexOf(6),
    pceId: hexOf(2),
    tcbEvaluationDataNumber: integer(0, 2 ** 31),
    tdxModule: object(seam, {}, "ignored"),
    tcbLevels: array(
      object(
        {
          tcb: object(
            { sgxtcbcomponents: components, tdxtcbcomponents: components, pcesvn: svn },
            {},
            "ignored",
          ),
          tcbStatus: status,
        },
        { advisoryIDs: advisories },
        "ignored",
      ),
      { max: 1024 },
    ),
  },
  {
    tdxModuleIdentities: array(
      object({ ...seam, id: string(/^TDX_[0-9A-F]{2}$/), tcbLevels: isvLevels }, {}, "ignored"),
      { max: 64 },
    ),
  },
  "ignored",
);
export type TcbInfo = Infer<typeof tcbInfo>;

const enclaveIdentity = object(
  {
    id: oneOf("TD_QE"),
    version: integer(2, 2),
    issueDate: moment,
    nextUpdate: moment,
    miscselect: hexOf(4),
    miscselectMask: hexOf(4),
    attributes: hexOf(16),
    attributesMask: hexOf(16),
    mrsigner: hexOf(32),
    isvprodid: svn,
    tcbLevels: isvLevels,
  },
  {},
  "ignored",
);
export type EnclaveIdentity = Infer<typeof enclaveIdentity>;

/** A document within its dates, and when it ends (unix seconds). */
export interface Dated<T> {
  readonly document: T;
  readonly until: number;
}

function readDated<T extends { readonly issueDate: string; readonly nextUpdate: string }>(
  text: string,
  schema: Schema<T>,
  what: string,
  now: number,
): Dated<T> {
  let document: T;
  try {
    document = read(utf8(text), schema);
  } catch {
    throw refused(COLLATERAL, `the ${what} cannot be read`);
  }
  const [from, until] = [document.issueDate, document.nextUpdate].map(
    (at) => Date.parse(at) / 1000,
  );
  if (from === undefined || until === undefined || !(from <= now)) {
    throw refused(COLLATERAL, "the collateral is from later");
  }
  if (!(now <= until)) throw refused(COLLATERAL, `the ${what} has expired`);
  return { document, until };
}

export function readTcbInfo(text: string, now: number): Dated<TcbInfo> {
  return readDated(text, tcbInfo, "TCB info", now);
}

export function readEnclaveIdentity(text: string, now: number): Dated<EnclaveIdentity> {
  return readDated(text, enclaveIdentity, "QE identity", now);
}

/** Bytes of the vendor's hex, which it writes in either case. */
export function vendorBytes(hex: string): Bytes {
  return fromHex(hex.toLowerCase());
}

/** Whether a value agrees with the wanted one in all bits of the mask. */
export function agrees(value: Bytes, mask: string, wanted: string): boolean {
  const [bits, right] = [vendorBytes(mask), vendorBytes(wanted)];
  return value.every(
    (byte, at) => (byte & (bits[at] ?? 0)) === ((right[at] ?? 0) & (bits[at] ?? 0)),
  );
}
