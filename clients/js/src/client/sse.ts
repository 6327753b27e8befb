/**
 * Server-sent events (WHATWG HTML 9.2) as OpenAI's servers send them: bytes torn anywhere in, the
 * data of whole events out. Comments, `event`, `id` and `retry` are passed over.
 */

import { type Bytes, concat, text, utf8 } from "../bytes.js";
import { BombyxError } from "../errors.js";

/** One event: a whole answer with logprobs fits, a server that never ends a line does not. */
const MAX_EVENT_BYTES = 8 * 2 ** 20;
const LF = 10;
const CR = 13;

export const DONE = "[DONE]";

/** Bytes in, data of events out; throws `bad_stream`. */
export class SseDecoder {
  #pieces: Uint8Array[] = [];
  #size = 0;
  #data: string[] = [];
  #skipLf = false;

  feed(chunk: Uint8Array): readonly string[] {
    const events: string[] = [];
    let start = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at];
      if (byte === LF && this.#skipLf && at === start) start = at + 1;
      else if (byte === LF || byte === CR) {
        this.#hold(chunk.subarray(start, at));
        this.#line(events);
        start = at + 1;
      }
      this.#skipLf = byte === CR;
    }
    this.#hold(chunk.subarray(start));
    return events;
  }

  /** The stream ended; throws when it ended inside an event. */
  finish(): void {
    if (this.#pieces.length > 0 || this.#data.length > 0) {
      throw new BombyxError("bad_stream", "the event stream ended inside an event");
    }
  }

  #hold(piece: Uint8Array): void {
    if (piece.length === 0) return;
    this.#size += piece.length;
    if (this.#size > MAX_EVENT_BYTES) {
      throw new BombyxError("bad_stream", "an event of the stream is larger than allowed");
    }
    this.#pieces.push(piece.slice());
  }

  #line(events: string[]): void {
    const line = decoded(concat(...this.#pieces));
    this.#pieces = [];
    if (line !== "") {
      const [name = "", ...rest] = line.split(":");
      if (name === "data") this.#data.push(rest.join(":").replace(/^ /, ""));
      return;
    }
    const data = this.#data.join("\n");
    [this.#data, this.#size] = [[], 0];
    if (data !== "") events.push(data);
  }
}

function decoded(line: Bytes): string {
  try {
    return text(line);
  } catch {
    throw new BombyxError("bad_stream", "the event stream is not UTF-8");
  }
}

/** One event of data. */
export function encodeEvent(data: string): Bytes {
  return utf8(`data: ${data.replaceAll("\n", "\ndata: ")}\n\n`);
}
