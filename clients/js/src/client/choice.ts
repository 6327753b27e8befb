/**
 * Which workers a request is sealed to (SPEC 13.1): the client draws at random, cheap ones more
 * likely, among all that pass the policy; the gateway only picks.
 */

import type { Directory, Entry } from "../attestation/documents.js";
import type { VerifiedWorker } from "../attestation/verify.js";
import { digestHex } from "../canonical.js";
import { hasCode } from "../errors.js";
import { ratesOf } from "../money/cost.js";
import { type Offer, type SignedOffer, verifyOffer } from "../money/offer.js";

/** Enough for failover; each costs 1200 bytes. */
export const MAX_DRAWN = 3;
/** An offer must outlive the way to the worker. */
const OFFER_MARGIN_SECONDS = 15;
/** Of a directory full of refused entries, so many are tried before the client gives up. */
const MAX_EXAMINED = 256;

/** A verified worker and the offer accepted from it. */
export interface Chosen {
  readonly worker: VerifiedWorker;
  readonly offer: Offer;
  /** The hex digest by which header and statement name the offer. */
  readonly offerHash: string;
}

/** Who was drawn, and why others were not. */
export interface Drawn {
  readonly chosen: readonly Chosen[];
  readonly refused: readonly string[];
}

/** What a draw needs from outside: verification, unix seconds, numbers within (0, 1). */
export interface Drawing {
  readonly verify: (entry: Entry) => Promise<VerifiedWorker>;
  readonly now: number;
  readonly uniform: () => number;
}

interface Candidate {
  readonly entry: Entry;
  readonly signed: SignedOffer;
  readonly rank: number;
}

/** At most three verified workers with a live offer for the model. */
export async function drawCandidates(
  directory: Directory,
  model: string,
  drawing: Drawing,
): Promise<Drawn> {
  const chosen = new Map<string, Chosen>();
  const refused: string[] = [];
  for (const candidate of ranked(directory, model, drawing)) {
    if (chosen.size === MAX_DRAWN || refused.length === MAX_EXAMINED) break;
    try {
      const one = await examined(candidate, model, drawing);
      if (!chosen.has(one.worker.id)) chosen.set(one.worker.id, one);
    } catch (error) {
      if (!hasCode(error, "worker_refused", "bad_signature", "model_not_found")) throw error;
      refused.push(error.message);
    }
  }
  return { chosen: [...chosen.values()], refused };
}

async function examined(
  { entry, signed }: Candidate,
  model: string,
  { verify }: Drawing,
): Promise<Chosen> {
  const worker = await verify(entry);
  worker.model(model);
  verifyOffer(signed, worker.keyset.link_key);
  return { worker, offer: signed.offer, offerHash: digestHex(signed.offer) };
}

/** A weighted random order (Efraimidis and Spirakis): cheap ones tend to the front. */
function ranked(directory: Directory, model: string, drawing: Drawing): readonly Candidate[] {
  const candidates = directory.workers.flatMap((entry) => {
    const signed = bestOffer(entry, model, drawing.now);
    if (signed === undefined) return [];
    // An exponential variable whose mean is the price: the smallest comes first.
    return [{ entry, signed, rank: -Math.log(drawing.uniform()) * (1 + Number(priceOf(signed))) }];
  });
  return candidates.sort((a, b) => a.rank - b.rank);
}

/** The cheapest live offer; whether it is genuine is checked when its turn comes. */
function bestOffer(entry: Entry, model: string, now: number): SignedOffer | undefined {
  const worker = digestHex(entry.keyset);
  const live = entry.offers.filter(
    ({ offer }) =>
      offer.model === model &&
      offer.worker === worker &&
      offer.valid_until > now + OFFER_MARGIN_SECONDS,
  );
  return live.reduce<SignedOffer | undefined>(
    (best, one) => (best === undefined || priceOf(one) < priceOf(best) ? one : best),
    undefined,
  );
}

function priceOf({ offer }: SignedOffer): bigint {
  const rates = ratesOf(offer.prices);
  return rates.prompt + rates.completion;
}
