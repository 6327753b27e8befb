/**
 * The sealed client (SPEC 2, 3, 14): what to send, and what to believe. Requests are sealed to
 * `VerifiedWorker`s and to nobody else, and what cannot be sealed is refused: this module is the
 * only one that calls `sealRequest`, and there is no way past it to a clear body.
 */

import type { Policy } from "../attestation/policy.js";
import { type Bytes, toHex } from "../bytes.js";
import { type Header, hashHeader } from "../envelope/header.js";
import { SECRET_BYTES } from "../envelope/keys.js";
import { encodeRequest, sealRequest } from "../envelope/request.js";
import { BombyxError, type OpenAIError } from "../errors.js";
import { deliver, type Listeners } from "./answer.js";
import type { Examiner } from "./delegation.js";
import { Finder, type Found } from "./finding.js";
import { type Identity, payerOf } from "./identity.js";
import { type Call, type Limits, limitsOf } from "./limits.js";
import { type Answer, GatewayRefusal, type Outside } from "./outside.js";
import type { Summary } from "./receipts.js";
import { MAX_ERROR_BYTES, PROBLEM_TYPE, type Proof, proofOf, provenOutcome } from "./refusals.js";
import { passedOn, relayedError } from "./responses.js";
import { type CallName, type Kept, nameCall, Retries } from "./retries.js";
import { type ClearRequest, isClear, readCall } from "./routes.js";
import { requestId, type Sealed } from "./sealed.js";
import { mediaType } from "./upstream.js";

const SEALED_REQUEST = "application/vnd.bombyx.sealed";
const SEALED_STREAM = "application/vnd.bombyx.sealed-stream";
const ID_BYTES = 16;
const HOP_BY_HOP = ["connection", "keep-alive", "transfer-encoding", "upgrade", "content-encoding"];

/** What the application sets: who hears of receipts, and the most one request may cost (nano). */
export interface Wishes {
  readonly listeners: Listeners;
  readonly maxCost: bigint | undefined;
  /** Who examines evidence; this client itself where absent. */
  readonly examiner: Examiner | undefined;
}

/** One policy, one identity, and what is remembered between requests. */
export class Session {
  readonly #finder: Finder;
  readonly #identity: Identity;
  readonly #outside: Outside;
  readonly #wishes: Wishes;
  readonly #retries = new Retries();

  constructor(policy: Policy, identity: Identity, outside: Outside, wishes: Wishes) {
    this.#finder = new Finder(policy, outside, wishes.examiner);
    this.#identity = identity;
    this.#outside = outside;
    this.#wishes = wishes;
  }

  /** Answer one request; throws `BombyxError` and `GatewayRefusal`, which become answers too. */
  async exchange(request: ClearRequest): Promise<Response> {
    if (isClear(request)) return this.#passOn(request);
    const call = readCall(request);
    const name = nameCall(request);
    const kept =
      this.#retries.take(name, this.#outside.clock()) ??
      (await this.#seal(request, call, name, false));
    return this.#answer(request, call, kept);
  }

  /** Send what was sealed; at most one renewal, and only where nothing is billed (SPEC 14.3). */
  async #answer(request: ClearRequest, call: Call, kept: Kept): Promise<Response> {
    let current = kept;
    try {
      let answer = await this.#post(request, kept.sealed);
      if (answer.response.status === 422) {
        const body = await answer.upstream.readAll(MAX_ERROR_BYTES);
        if (this.#waived(answer.response, body, kept) === undefined) {
          throw GatewayRefusal.with(answer.response, body);
        }
        current = await this.#seal(request, call, kept.name, true);
        answer = await this.#post(request, current.sealed);
      }
      return await this.#receive(answer, current);
    } catch (error) {
      this.#retries.release(current, false);
      throw error;
    }
  }

  async #receive({ response, upstream }: Answer, kept: Kept): Promise<Response> {
    const { sealed } = kept;
    if (response.status >= 400) {
      const body = await upstream.readAll(MAX_ERROR_BYTES);
      if (this.#waived(response, body, kept)?.crowded === true) {
        throw new BombyxError("overloaded", "every chosen worker is busy: try again");
      }
      const outcome = response.status === 409 ? provenOutcome(body, sealed) : undefined;
      if (outcome !== undefined) return relayedError(response, alreadyRan(outcome));
      throw GatewayRefusal.with(response, body);
    }
    const isSealed = mediaType(response) === SEALED_STREAM;
    if (response.status !== 200 || !isSealed || response.headers.has("content-encoding")) {
      await upstream.close();
      const why = `the gateway's answer (${response.status}) is not sealed; it is not shown`;
      throw new BombyxError("bad_answer", why);
    }
    return deliver({
      sealed,
      upstream,
      passedOn: passedOn(response),
      listeners: this.#wishes.listeners,
      over: (answered) => this.#retries.release(kept, answered),
    });
  }

  /**
   * What ends the request for good, where an error answer does: it may be sealed anew (SPEC 14.3) and
   * is not sent again. Throws `unproven_refusal` where what it shows as proof is none.
   */
  #waived(response: Response, body: Bytes, kept: Kept): Proof | undefined {
    if (mediaType(response) !== PROBLEM_TYPE) return undefined;
    const { sealed } = kept;
    const proof = proofOf(response.status, body, sealed);
    const { renewable, note } = proof;
    if (!renewable) return undefined;
    if (note !== undefined) {
      this.#wishes.listeners.onWaived?.({ id: requestId(sealed), c: note.lost.c, note });
    }
    this.#retries.forget(kept);
    return proof;
  }

  #post(request: ClearRequest, sealed: Sealed): Promise<Answer> {
    return this.#outside.send(request, request.origin + request.path, {
      method: "POST",
      headers: { "content-type": SEALED_REQUEST, accept: SEALED_STREAM },
      body: sealed.encoded,
    });
  }

  async #seal(request: ClearRequest, call: Call, name: CallName, fresh: boolean): Promise<Kept> {
    const found = await this.#finder.find(request, call.head.model, fresh);
    const sealed = await this.#sealTo(request, call, found);
    return this.#retries.keep(name, sealed, this.#outside.clock());
  }

  /** Seal the body as it came to the workers found; their offers fix what it can cost. */
  async #sealTo(request: ClearRequest, call: Call, found: Found): Promise<Sealed> {
    const { chosen, directory } = found;
    const authorization = request.headers.get("authorization") ?? "";
    const payer = payerOf(this.#identity, directory.gateway, authorization);
    const limits = limitsOf(call, chosen, directory, this.#wishes.maxCost);
    const header = this.#header(request, call, found, payer.publicHex, limits);
    const sealed = await sealRequest(
      hashHeader(header),
      {
        content_type: "application/json",
        user_cache_secret: toHex(this.#identity.cacheSecret),
      },
      call.raw,
      {
        keys: chosen.map(({ worker }) => worker.hpkeKey().key),
        payer,
        entropy: {
          dek: this.#outside.random(SECRET_BYTES),
          responseSecrets: chosen.map(() => this.#outside.random(SECRET_BYTES)),
        },
      },
    );
    const byWorker = new Map(chosen.map((one) => [one.worker.id, one]));
    const { stream } = call.head;
    return { request: sealed, encoded: encodeRequest(sealed), chosen: byWorker, stream };
  }

  #header(
    request: ClearRequest,
    call: Call,
    { directory, chosen }: Found,
    payer: string,
    limits: Limits,
  ): Header {
    return {
      v: "bombyx/1",
      id: toHex(this.#outside.random(ID_BYTES)),
      gateway: directory.gateway,
      method: "POST",
      path: request.path,
      model: call.head.model,
      stream: call.head.stream,
      tier: "sealed",
      payer,
      issued_at: this.#outside.clock(),
      max_input_tokens: limits.maxInput,
      max_output_tokens: limits.maxOutput,
      max_cost_nano: limits.maxCost.toString(),
      fee_bps: directory.fee_bps,
      candidates: chosen.map(({ worker, offerHash }) => {
        return { worker: worker.id, key_id: worker.hpkeKey().id, offer: offerHash };
      }),
    };
  }

  /** A request without secrets; of its headers only the key goes along. */
  async #passOn(request: ClearRequest): Promise<Response> {
    const url = request.origin + request.path + request.query;
    const { response, upstream } = await this.#outside.send(request, url, { method: "GET" });
    if (response.status < 200 || (response.status >= 300 && response.status < 400)) {
      throw new BombyxError("bad_answer", "the gateway answered with a redirect");
    }
    const headers = new Headers(response.headers);
    for (const name of HOP_BY_HOP) headers.delete(name);
    const body = await upstream.readAll(MAX_CLEAR_BYTES);
    return new Response(body.length > 0 ? body : null, { status: response.status, headers });
  }
}

/** A list of models or a receipt: what is asked for in clear is small. */
const MAX_CLEAR_BYTES = 16 * 2 ** 20;

function alreadyRan({ charge_nano }: Summary): OpenAIError {
  const message =
    "the request was run before and its answer is no longer kept; its receipt is verified and " +
    `charges ${charge_nano} nano`;
  return { message, type: "invalid_request_error", code: "outcome", param: null };
}
