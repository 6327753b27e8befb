/**
 * Reading a sealed answer to its verified end (SPEC 3). Each statement is checked as soon as the
 * sealed frame after it vouches for it. Whatever breaks was broken by the peer.
 */

import { type Bytes, concat, text } from "../bytes.js";
import {
  type HeadOpened,
  type Opened,
  ResponseOpener,
  type UsageSeen,
} from "../envelope/opener.js";
import { BombyxError, hasCode } from "../errors.js";
import type { Receipt } from "../money/receipt.js";
import { asRecord } from "../schema.js";
import { type VerifiedAnswer, verifiedAnswer, verifyStatement } from "./receipts.js";
import type { Sealed } from "./sealed.js";

/** Feed it the gateway's bytes; `finish` verifies that they were a complete answer. */
export class AnswerReader {
  readonly #sealed: Sealed;
  readonly #opener: ResponseOpener;
  #unchecked: UsageSeen | undefined;
  #receipt: Receipt | undefined;
  #end = "";
  head: HeadOpened | undefined;
  /** The worker's own error object, authenticated, that ended the answer. */
  error: Readonly<Record<string, unknown>> | undefined;

  constructor(sealed: Sealed) {
    const { header, responseSecrets } = sealed.request;
    const secrets = new Map<string, Bytes>();
    header.header.candidates.forEach(({ worker }, index) => {
      const secret = responseSecrets[index];
      if (secret !== undefined) secrets.set(worker, secret);
    });
    this.#sealed = sealed;
    this.#opener = new ResponseOpener(header.h, secrets);
  }

  /** What the worker said; throws `bad_answer`, `bad_receipt` or `relay_interrupted`. */
  async feed(data: Uint8Array): Promise<Bytes> {
    const pieces: Bytes[] = [];
    for (const opened of await this.#opened(data)) {
      this.#checkStatement();
      const piece = this.#take(opened);
      if (piece !== undefined) pieces.push(piece);
    }
    return concat(...pieces);
  }

  /** The verified answer; throws `truncated` or `bad_receipt`. */
  finish(): VerifiedAnswer {
    this.#opener.finish();
    const chosen = this.#sealed.chosen.get(this.head?.worker ?? "");
    if (this.#receipt === undefined || chosen === undefined) {
      throw new BombyxError("bad_receipt", "the answer came without a receipt");
    }
    const status = this.error === undefined ? "final" : "aborted";
    return verifiedAnswer(this.#receipt, chosen.worker, status, this.#end);
  }

  async #opened(data: Uint8Array): Promise<readonly Opened[]> {
    try {
      return await this.#opener.feed(data);
    } catch (error) {
      if (!hasCode(error, "malformed_frame", "cannot_open", "not_canonical")) throw error;
      throw new BombyxError("bad_answer", `the sealed answer is broken: ${error.message}`);
    }
  }

  #take(opened: Opened): Bytes | undefined {
    switch (opened.kind) {
      case "data":
        return opened.payload;
      case "head":
        this.head = opened;
        return undefined;
      case "usage":
        this.#unchecked = opened;
        return undefined;
      case "error":
        this.error = errorObject(opened.body);
        return undefined;
      case "end":
        this.#end = opened.end.statement;
        return undefined;
    }
  }

  /** Hold the newest statement against what came before it. */
  #checkStatement(): void {
    const usage = this.#unchecked;
    this.#unchecked = undefined;
    if (usage === undefined || this.head === undefined) return;
    const held = this.#receipt?.statement;
    this.#receipt = verifyStatement(this.#sealed, usage.receipt, this.head.worker, usage, held);
  }
}

/** OpenAI's error object, with or without the envelope around it. */
function errorObject(body: Bytes): Readonly<Record<string, unknown>> {
  let document: Readonly<Record<string, unknown>> | undefined;
  try {
    document = asRecord(JSON.parse(text(body)));
  } catch {
    document = undefined;
  }
  if (document === undefined) {
    throw new BombyxError("bad_answer", "the worker's error object is no JSON");
  }
  return asRecord(document["error"]) ?? document;
}
