/** Certificate chains under a pinned root, with revocation (RFC 5280 6, as DCAP uses it). */

import { type Bytes, equal, fromHex } from "../bytes.js";
import { BadDer } from "./der.js";
import { splitCertificates } from "./pem.js";
import { refused, type StepName } from "./steps.js";
import {
  type Certificate,
  isSignedBy,
  parseCertificate,
  parseRevocationList,
  type RevocationList,
} from "./x509.js";

const CHAIN: StepName = "certificate_chain";

/** Run a parser; what is not DER fails the step. */
export function parsed<T>(step: StepName, what: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof BadDer || error instanceof RangeError) {
      throw refused(step, `${what}: ${error.message}`);
    }
    throw error;
  }
}

export function readChain(pem: string, what: string): readonly Certificate[] {
  return parsed(CHAIN, what, () => splitCertificates(pem).map(parseCertificate));
}

/** Parse a revocation list in hex; nothing is trusted yet. */
export function readList(hex: string, step: StepName): RevocationList {
  return parsed(step, "a revocation list cannot be read", () => parseRevocationList(fromHex(hex)));
}

/** The list is by this authority and current; throws at the step that fails. */
export async function checkList(
  list: RevocationList,
  authority: Certificate,
  now: number,
): Promise<void> {
  if (!equal(list.issuer, authority.subject) || !authority.signsLists) {
    throw refused(CHAIN, "a revocation list is by somebody else");
  }
  if (!(await isSignedBy(authority.spki, list.signature, list.tbs))) {
    throw refused(CHAIN, "a revocation list is not signed by its authority");
  }
  if (now < list.thisUpdate) throw refused("collateral_current", "a revocation list is from later");
  if (now > list.nextUpdate) throw refused("collateral_current", "a revocation list has expired");
}

/** The certificate is alive, by the authority above it, and stands where it may. */
export async function checkCertificate(
  certificate: Certificate,
  above: Certificate,
  now: number,
): Promise<void> {
  if (now < certificate.notBefore || now > certificate.notAfter) {
    throw refused(CHAIN, "a certificate is outside of its dates");
  }
  if (!above.isCa || !above.signsCertificates || !equal(certificate.issuer, above.subject)) {
    throw refused(CHAIN, "a certificate is by somebody who may not issue it");
  }
  if (!(await isSignedBy(above.spki, certificate.signature, certificate.tbs))) {
    throw refused(CHAIN, "a certificate is not signed by the one above it");
  }
}

export function checkNotRevoked(certificate: Certificate, list: RevocationList): void {
  if (!equal(certificate.issuer, list.issuer)) {
    throw refused(CHAIN, "no revocation list is of the certificate's authority");
  }
  if (list.revoked.has(certificate.serial)) {
    throw refused("tcb_not_revoked", "a certificate of the platform is revoked");
  }
}

/** The pinned root, self-signed, with its list. */
export interface Anchor {
  readonly root: Certificate;
  readonly list: RevocationList;
}

/** Parse the pinned root and check the list that it signed. */
export async function readAnchor(root: Bytes, listHex: string, now: number): Promise<Anchor> {
  const certificate = parsed(CHAIN, "the root", () => parseCertificate(root));
  await checkCertificate(certificate, certificate, now);
  const list = readList(listHex, CHAIN);
  await checkList(list, certificate, now);
  checkNotRevoked(certificate, list);
  return { root: certificate, list };
}

/** A signer directly below the root: DCAP's collateral has no other. */
export async function checkSigner(pem: string, anchor: Anchor, now: number): Promise<Certificate> {
  const [signer, root, ...more] = readChain(pem, "the collateral's chain");
  if (signer === undefined || root === undefined || more.length > 0) {
    throw refused("collateral_current", "the collateral's signer is missing");
  }
  if (!equal(root.der, anchor.root.der))
    throw refused(CHAIN, "the collateral is of a foreign root");
  if (signer.isCa) throw refused(CHAIN, "an authority signs where it may not");
  await checkCertificate(signer, anchor.root, now);
  checkNotRevoked(signer, anchor.list);
  return signer;
}

/** Leaf and authority of the platform, below the root; the authority's list comes along. */
export async function checkPlatformChain(
  ders: readonly Bytes[],
  anchor: Anchor,
  list: RevocationList,
  now: number,
): Promise<readonly [Certificate, Certificate]> {
  const chain = parsed(CHAIN, "the platform's certificate", () => ders.map(parseCertificate));
  const [leaf, authority, root] = chain;
  if (
    leaf === undefined ||
    authority === undefined ||
    !equal(root?.der ?? leaf.der, anchor.root.der)
  ) {
    throw refused(CHAIN, "the chain does not lead to the root");
  }
  await checkCertificate(authority, anchor.root, now);
  if (anchor.root.pathLength < 1) throw refused(CHAIN, "the root allows no authority below it");
  checkNotRevoked(authority, anchor.list);
  await checkList(list, authority, now);
  await checkCertificate(leaf, authority, now);
  if (leaf.isCa) throw refused(CHAIN, "the platform's certificate is an authority's");
  checkNotRevoked(leaf, list);
  return [leaf, authority];
}
