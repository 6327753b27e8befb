/**
 * `createFetch`: a `fetch` for `new OpenAI({ fetch, baseURL, apiKey })` and for the AI SDK. It takes
 * the plain OpenAI request, verifies workers, seals, and streams the plain answer back.
 */

import {
  type Policy,
  type PolicyTable,
  type PresetName,
  parsePolicy,
} from "../attestation/policy.js";
import type { Bytes } from "../bytes.js";
import { BombyxError } from "../errors.js";
import type { Dispute, Waiver } from "./answer.js";
import { delegatingTo, type PinnedVerifier } from "./delegation.js";
import { checkIdentity, type Identity, makeIdentity } from "./identity.js";
import { type Fetch, GatewayRefusal, Outside } from "./outside.js";
import type { VerifiedAnswer } from "./receipts.js";
import { errorResponse } from "./responses.js";
import { clearRequest } from "./routes.js";
import { Session } from "./session.js";

export interface FetchOptions {
  /** Which workers may read the requests: SPEC 17.3's tables, a preset, or what was read of them. */
  readonly policy: PolicyTable | PresetName | Policy;
  /** Secrets that the application keeps; fresh ones, forgotten with the page, where absent. */
  readonly identity?: Identity;
  /** The most that one request may cost, in nano. */
  readonly maxCostNano?: bigint;
  /** A server of the application's own that examines evidence; never the gateway. */
  readonly verifier?: PinnedVerifier;
  /** Hears of each verified answer; `document` is a receipt file. */
  readonly onReceipt?: (answer: VerifiedAnswer) => void;
  /** Hears of each answer that was refused. */
  readonly onDispute?: (dispute: Dispute) => void;
  /** Hears of each request that was given up on the gateway's signed note; keep it as evidence. */
  readonly onWaived?: (waiver: Waiver) => void;
  /** Stands in for the platform's `fetch`. */
  readonly fetch?: Fetch;
  /** Unix seconds; the platform's clock where absent. */
  readonly clock?: () => number;
}

/** What the platform's `fetch` is to its callers. */
export type SealedFetch = (input: RequestInfo | URL, init?: RequestInit) => Promise<Response>;

/** Make a sealing `fetch`; throws `policy_error` or `setup_error`. */
export function createFetch(options: FetchOptions): SealedFetch {
  const { clock = unixSeconds, fetch = globalThis.fetch.bind(globalThis) } = options;
  const policy = asPolicy(options.policy);
  const { verifier, onReceipt, onDispute, onWaived } = options;
  const session = new Session(
    policy,
    checkIdentity(options.identity ?? makeIdentity(randomBytes)),
    new Outside(fetch, clock, randomBytes),
    {
      listeners: { onReceipt, onDispute, onWaived },
      maxCost: options.maxCostNano,
      examiner: verifier === undefined ? undefined : delegatingTo(verifier, policy, fetch),
    },
  );
  return async (input, init) => {
    try {
      return await session.exchange(await clearRequest(new Request(input, init)));
    } catch (error) {
      if (error instanceof GatewayRefusal) return error.response;
      if (error instanceof BombyxError) return errorResponse(error);
      throw error; // the network's own errors reach the SDK, which knows them
    }
  };
}

const parsedPolicies = new WeakSet<object>();

/** A policy is parsed where it comes in; one that was parsed already is known again. */
export function readPolicy(source: unknown): Policy {
  const policy = parsePolicy(source);
  parsedPolicies.add(policy);
  return policy;
}

function isParsed(source: PolicyTable | PresetName | Policy): source is Policy {
  return typeof source === "object" && parsedPolicies.has(source);
}

/** Either form of a policy as the one that verifiers take. */
export function asPolicy(source: PolicyTable | PresetName | Policy): Policy {
  return isParsed(source) ? source : readPolicy(source);
}

/** A fresh identity, to be kept by the application where it keeps its secrets. */
export function createIdentity(): Identity {
  return makeIdentity(randomBytes);
}

function unixSeconds(): number {
  return Math.floor(Date.now() / 1000);
}

function randomBytes(size: number): Bytes {
  return crypto.getRandomValues(new Uint8Array(size));
}
