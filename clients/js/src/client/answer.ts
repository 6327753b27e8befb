/**
 * Turning a sealed answer into what the SDK expects (SPEC 3.5, 3.9). A stream passes event by
 * event, but its usage chunk and `[DONE]` wait until the receipt is verified. Whatever goes wrong
 * after a stream began becomes an error event, since SDKs take a bare close for success.
 */

import { type Bytes, concat, text } from "../bytes.js";
import { BombyxError } from "../errors.js";
import { asRecord } from "../schema.js";
import { AnswerReader } from "./reading.js";
import { type Summary, tierOf, type VerifiedAnswer } from "./receipts.js";
import type { SignedLost } from "./refusals.js";
import { jsonResponse } from "./responses.js";
import { requestId, type Sealed } from "./sealed.js";
import { DONE, encodeEvent, SseDecoder } from "./sse.js";
import type { Upstream } from "./upstream.js";

/** An answer that is not streamed is held in memory until it is verified. */
const MAX_WHOLE_BYTES = 64 * 2 ** 20;
const EVENT_STREAM = "text/event-stream";
const ABORTED_STATUS = 502;
const ERROR_STATUS = 400;

/** What remains of a request whose answer was not what it must be; holds no content. */
export interface Dispute {
  readonly id: string;
  readonly code: string;
}

/**
 * A request that was given up on the gateway's verified note, for another one. With a billed receipt
 * of the same `c`, keeping the note proves the gateway a liar; its key is `note.lost.gateway`.
 */
export interface Waiver {
  readonly id: string;
  readonly c: string;
  readonly note: SignedLost;
}

/** Who is told of verified answers, of those that were refused, and of requests given up. */
export interface Listeners {
  readonly onReceipt?: ((answer: VerifiedAnswer) => void) | undefined;
  readonly onDispute?: ((dispute: Dispute) => void) | undefined;
  readonly onWaived?: ((waiver: Waiver) => void) | undefined;
}

/** One answer on its way: what came, from where, who listens, and what to do when it is over. */
export interface Delivery {
  readonly sealed: Sealed;
  readonly upstream: Upstream;
  /** What the gateway's own headers add. */
  readonly passedOn: Headers;
  readonly listeners: Listeners;
  readonly over: (answered: boolean) => void;
}

/** Passes events on and holds back what says that the answer is complete. */
class StreamShaper {
  readonly #decoder = new SseDecoder();
  #usage: Readonly<Record<string, unknown>> | undefined;
  #done = false;

  feed(data: Uint8Array): Bytes {
    const passed = this.#decoder.feed(data).filter((event) => !this.#holds(event));
    return concat(...passed.map(encodeEvent));
  }

  /** The held usage chunk, with the summary in it, and `[DONE]`. */
  done(summary: Summary): Bytes {
    this.#decoder.finish();
    if (this.#usage === undefined) return encodeEvent(DONE);
    const chunk = withSummary(this.#usage, summary);
    return concat(encodeEvent(JSON.stringify(chunk)), encodeEvent(DONE));
  }

  #holds(event: string): boolean {
    if (this.#done || event === DONE) {
      this.#done = true;
      return true;
    }
    const chunk = usageChunk(event);
    this.#usage = chunk ?? this.#usage;
    return chunk !== undefined;
  }
}

/** The chunk, if it is the one that carries usage and no choices. */
function usageChunk(event: string): Readonly<Record<string, unknown>> | undefined {
  if (!event.includes('"usage"')) return undefined; // text that quotes the word escapes its quotes
  const chunk = jsonObject(event);
  const choices: unknown = chunk?.["choices"];
  const isUsage = Array.isArray(choices) && choices.length === 0 && asRecord(chunk?.["usage"]);
  return isUsage ? chunk : undefined;
}

function jsonObject(json: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return asRecord(JSON.parse(json));
  } catch {
    return undefined;
  }
}

/** A document with the summary inside its usage, where it has one. */
function withSummary(
  document: Readonly<Record<string, unknown>>,
  summary: Summary,
): Readonly<Record<string, unknown>> {
  const usage = asRecord(document["usage"]);
  return usage === undefined ? document : { ...document, usage: { ...usage, bombyx: summary } };
}

/** Read the sealed answer and give it to the SDK; throws as long as the SDK has got nothing. */
export async function deliver(delivery: Delivery): Promise<Response> {
  const reader = new AnswerReader(delivery.sealed);
  try {
    const first = await untilHead(reader, delivery.upstream);
    if (!isStream(reader, delivery.sealed)) return await whole(reader, first, delivery);
    const labels = labelsOf(reader, delivery);
    labels.set("content-type", EVENT_STREAM);
    labels.set("cache-control", "no-cache");
    const stream = toStream(events(reader, first, delivery), delivery.upstream);
    return new Response(stream, { headers: labels });
  } catch (error) {
    await delivery.upstream.close();
    delivery.over(false);
    dispute(error, delivery);
    throw error;
  }
}

/** Read until status and headers are known; the data that came with them. */
async function untilHead(reader: AnswerReader, upstream: Upstream): Promise<Bytes> {
  for (;;) {
    const piece = await upstream.read();
    if (piece === undefined) {
      throw new BombyxError("truncated", "the answer broke off before its head");
    }
    const data = await reader.feed(piece);
    if (reader.head !== undefined) return data;
  }
}

function isStream(reader: AnswerReader, sealed: Sealed): boolean {
  const head = reader.head?.head;
  if (head === undefined || head.status >= ERROR_STATUS) return false;
  const type = new Map(head.headers).get("content-type") ?? "";
  const [media = ""] = type.split(";");
  if ((media.trim() === EVENT_STREAM) !== sealed.stream) {
    throw new BombyxError("bad_answer", "the worker answered in another form than was asked for");
  }
  return sealed.stream;
}

async function whole(reader: AnswerReader, first: Bytes, delivery: Delivery): Promise<Response> {
  const pieces = [first];
  let size = first.length;
  for (let piece = await delivery.upstream.read(); piece !== undefined; ) {
    const data = await reader.feed(piece);
    size += data.length;
    if (size > MAX_WHOLE_BYTES) {
      const why = `the answer is longer than ${MAX_WHOLE_BYTES} bytes: stream it`;
      throw new BombyxError("bad_answer", why);
    }
    pieces.push(data);
    piece = await delivery.upstream.read();
  }
  const answer = verified(reader, delivery);
  const labels = labelsOf(reader, delivery);
  delivery.over(reader.error === undefined);
  if (reader.error !== undefined) {
    labels.set("x-should-retry", "false"); // signed and billed: it would have the same outcome
    return jsonResponse(ABORTED_STATUS, JSON.stringify({ error: reader.error }), labels);
  }
  const document = readWhole(concat(...pieces));
  const body = JSON.stringify(withSummary(document, answer.summary));
  return jsonResponse(reader.head?.head.status ?? ABORTED_STATUS, body, labels);
}

function readWhole(body: Bytes): Readonly<Record<string, unknown>> {
  let json = "";
  try {
    json = text(body);
  } catch {
    json = "";
  }
  const document = jsonObject(json);
  if (document !== undefined) return document;
  throw new BombyxError("bad_answer", "the worker's answer is no JSON object");
}

/** The bytes for the SDK, to the verified end or an error event. */
async function* events(
  reader: AnswerReader,
  first: Bytes,
  delivery: Delivery,
): AsyncGenerator<Bytes, void> {
  const shaper = new StreamShaper();
  let answered = false;
  try {
    yield shaper.feed(first);
    for (let piece = await delivery.upstream.read(); piece !== undefined; ) {
      yield shaper.feed(await reader.feed(piece));
      piece = await delivery.upstream.read();
    }
    const { summary } = verified(reader, delivery);
    if (reader.error === undefined) {
      const rest = shaper.done(summary);
      answered = true;
      yield rest;
    } else {
      yield encodeEvent(JSON.stringify({ error: reader.error }));
    }
  } catch (error) {
    if (!(error instanceof BombyxError)) throw error;
    dispute(error, delivery);
    yield encodeEvent(JSON.stringify(error.envelope()));
  } finally {
    await delivery.upstream.close();
    delivery.over(answered);
  }
}

/** A stream without a buffer of its own: back pressure reaches the worker. */
function toStream(source: AsyncGenerator<Bytes, void>, upstream: Upstream): ReadableStream<Bytes> {
  const pull = async (controller: ReadableStreamDefaultController<Bytes>): Promise<void> => {
    for (;;) {
      const { done, value } = await source.next();
      if (done === true) return controller.close();
      if (value.length > 0) return controller.enqueue(value);
    }
  };
  const cancel = async (): Promise<void> => {
    await upstream.close(); // first: the source may be waiting for it
    await source.return();
  };
  return new ReadableStream<Bytes>({ pull, cancel }, { highWaterMark: 0 });
}

function verified(reader: AnswerReader, { listeners }: Delivery): VerifiedAnswer {
  const answer = reader.finish();
  listeners.onReceipt?.(answer);
  return answer;
}

function dispute(error: unknown, { sealed, listeners }: Delivery): void {
  if (!(error instanceof BombyxError)) return;
  listeners.onDispute?.({ id: requestId(sealed), code: error.code });
}

/** Headers that the client itself vouches for; those passed on are the gateway's word. */
function labelsOf(reader: AnswerReader, { sealed, passedOn }: Delivery): Headers {
  const id = requestId(sealed);
  const worker = reader.head?.worker ?? "";
  const labels = new Headers(passedOn);
  labels.set("x-bombyx-tier", tierOf(sealed.chosen.get(worker)?.worker));
  labels.set("x-bombyx-id", id);
  labels.set("x-bombyx-worker", worker);
  if (!labels.has("x-request-id")) labels.set("x-request-id", id);
  return labels;
}
