/** The one place that reaches out: network, clock and randomness, each replaceable. */

import type { Bytes } from "../bytes.js";
import { BombyxError } from "../errors.js";
import { gatewayError, MAX_ERROR_BYTES } from "./refusals.js";
import { relayedError } from "./responses.js";
import type { ClearRequest } from "./routes.js";
import { Upstream } from "./upstream.js";

/** Of the SDK's own headers: the rest tells of the caller and is not needed. */
const SENT_ON = ["authorization", "user-agent"];
const UNIT = 2 ** -53;

export type Fetch = (input: string, init: RequestInit) => Promise<Response>;

export interface Answer {
  readonly response: Response;
  readonly upstream: Upstream;
}

export class Outside {
  readonly #fetch: Fetch;
  /** Unix seconds. */
  readonly clock: () => number;
  readonly random: (size: number) => Bytes;

  constructor(fetch: Fetch, clock: () => number, random: (size: number) => Bytes) {
    this.#fetch = fetch;
    this.clock = clock;
    this.random = random;
  }

  /** A number within (0, 1). */
  uniform(): number {
    const drawn = new DataView(this.random(8).buffer).getBigUint64(0);
    return (Number(drawn >> 11n) + 0.5) * UNIT;
  }

  /** Send on behalf of a request: its key goes along, nothing else of it does. */
  async send(request: ClearRequest, url: string, init: RequestInit): Promise<Answer> {
    const headers = new Headers(init.headers);
    for (const name of SENT_ON) {
      const value = request.headers.get(name);
      if (value !== null) headers.set(name, value);
    }
    // Compressed, lengths of frames would tell of content. Browsers drop the header.
    headers.set("accept-encoding", "identity");
    const response = await this.#fetch(url, {
      ...init,
      headers,
      redirect: "manual", // it would carry the key elsewhere
      credentials: "omit",
      cache: "no-store",
      referrerPolicy: "no-referrer",
      signal: request.signal,
    });
    return { response, upstream: new Upstream(response, request.signal) };
  }
}

/** Thrown with a gateway's own error answer, to be passed on to the SDK. */
export class GatewayRefusal extends Error {
  readonly response: Response;

  private constructor(response: Response) {
    super(`the gateway answered ${response.status}`);
    this.name = "GatewayRefusal";
    this.response = response;
  }

  /** A non-2xx answer; throws `bad_answer` for what is no error at all. */
  static async of(response: Response, upstream: Upstream): Promise<GatewayRefusal> {
    return GatewayRefusal.with(response, await upstream.readAll(MAX_ERROR_BYTES));
  }

  /** The same of a body that was read already. */
  static with(response: Response, body: Bytes): GatewayRefusal {
    const { status } = response;
    if (status < 400) {
      const said = status === 0 ? "a redirect" : String(status);
      throw new BombyxError("bad_answer", `the gateway answered ${said} where more was due`);
    }
    return new GatewayRefusal(relayedError(response, gatewayError(status, body)));
  }
}
