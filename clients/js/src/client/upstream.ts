/** One response of the gateway, read piece by piece; a break is told from an end by the protocol. */

import { type Bytes, concat } from "../bytes.js";
import { BombyxError } from "../errors.js";

/** The content type without parameters. */
export function mediaType(response: Response): string {
  const [type = ""] = (response.headers.get("content-type") ?? "").split(";");
  return type.trim().toLowerCase();
}

/** Reads a body; closing it early stops the worker. */
export class Upstream {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  readonly #signal: AbortSignal;
  #left = false;

  constructor(response: Response, signal: AbortSignal) {
    this.#reader = response.body?.getReader();
    this.#signal = signal;
  }

  /** The next bytes; undefined at the end, also when the connection broke. */
  async read(): Promise<Uint8Array | undefined> {
    let piece: ReadableStreamReadResult<Uint8Array> | undefined;
    try {
      piece = await this.#reader?.read();
    } catch {
      piece = undefined;
    }
    if (this.#signal.aborted) throw this.#signal.reason;
    if (this.#left) throw new DOMException("the caller left", "AbortError");
    return piece?.value;
  }

  /** The whole body; throws `bad_answer` beyond `limit` bytes. */
  async readAll(limit: number): Promise<Bytes> {
    const pieces: Uint8Array[] = [];
    let size = 0;
    for (let piece = await this.read(); piece !== undefined; piece = await this.read()) {
      size += piece.length;
      if (size > limit) {
        await this.close();
        throw new BombyxError("bad_answer", `the gateway's answer is longer than ${limit} bytes`);
      }
      pieces.push(piece);
    }
    return concat(...pieces);
  }

  /** Close the response, whether or not it was read. */
  async close(): Promise<void> {
    this.#left = true;
    try {
      await this.#reader?.cancel();
    } catch {
      return; // it is broken already
    }
  }
}
