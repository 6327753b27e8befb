/** Finding workers to seal to: the directory, remembered or fetched, and the draw (SPEC 13.1). */

import { type Directory, MAX_DIRECTORY_BYTES } from "../attestation/documents.js";
import type { Policy } from "../attestation/policy.js";
import { BombyxError } from "../errors.js";
import { type Chosen, type Drawn, drawCandidates } from "./choice.js";
import type { Examiner } from "./delegation.js";
import { DIRECTORY_SECONDS, parseDirectory, Remembered, Verifier } from "./directory.js";
import { GatewayRefusal, type Outside } from "./outside.js";
import type { ClearRequest } from "./routes.js";

const DIRECTORY_PATH = "/v1/confidential/workers";
const MAX_LISTINGS = 64;
const SHOWN_REFUSALS = 3;
const MAX_SKEW_SECONDS = 300;

/** The gateway as it describes itself, and the workers drawn among those that it lists. */
export interface Found {
  readonly directory: Directory;
  readonly chosen: readonly Chosen[];
}

/** Finds verified workers under one policy. */
export class Finder {
  readonly #verifier: Verifier;
  readonly #outside: Outside;
  readonly #listings = new Remembered<Directory>(MAX_LISTINGS);
  readonly #pending = new Map<string, Promise<Directory>>();

  constructor(policy: Policy, outside: Outside, examiner: Examiner | undefined) {
    this.#verifier = new Verifier(policy, examiner);
    this.#outside = outside;
  }

  /** Candidates for a model; `fresh` looks past what is remembered. */
  async find(request: ClearRequest, model: string, fresh: boolean): Promise<Found> {
    const key = `${request.origin}\0${model}`;
    const known = fresh ? undefined : this.#listings.get(key, this.#outside.clock());
    if (known !== undefined) {
      const { chosen } = await this.#drawn(known, model);
      if (chosen.length > 0) return { directory: known, chosen };
    }
    const directory = await this.#shared(request, model, key, fresh);
    const drawn = await this.#drawn(directory, model);
    if (directory.workers.length === 0) {
      const why = `this gateway lists no worker of ${model} now; nothing was sent`;
      throw new BombyxError("model_not_found", why, "model");
    }
    if (drawn.chosen.length === 0) throw nobody(model, drawn, this.#clockHint(directory));
    return { directory, chosen: drawn.chosen };
  }

  /** Of requests that need the same directory at once one fetches it, and the others wait. */
  async #shared(
    request: ClearRequest,
    model: string,
    key: string,
    fresh: boolean,
  ): Promise<Directory> {
    const pending = fresh ? undefined : this.#pending.get(key);
    if (pending !== undefined) {
      const awaited = await pending.catch(() => undefined);
      if (awaited !== undefined) return awaited; // else whoever fetched it may have left
    }
    const own = this.#fetch(request, model);
    this.#pending.set(key, own);
    try {
      const directory = await own;
      this.#listings.put(key, directory, this.#outside.clock() + DIRECTORY_SECONDS);
      return directory;
    } finally {
      if (this.#pending.get(key) === own) this.#pending.delete(key);
    }
  }

  async #fetch(request: ClearRequest, model: string): Promise<Directory> {
    const query = new URLSearchParams({ model });
    const url = `${request.origin}${DIRECTORY_PATH}?${query}`;
    const { response, upstream } = await this.#outside.send(request, url, { method: "GET" });
    if (response.status !== 200) throw await GatewayRefusal.of(response, upstream);
    return parseDirectory(await upstream.readAll(MAX_DIRECTORY_BYTES), this.#verifier.policy);
  }

  /** A wrong clock makes good evidence look expired. */
  #clockHint({ now }: Directory): string {
    const away = this.#outside.clock() - now;
    if (Math.abs(away) <= MAX_SKEW_SECONDS) return "";
    return ` Your clock is ${away} s from the gateway's, which may be why.`;
  }

  #drawn(directory: Directory, model: string): Promise<Drawn> {
    const now = this.#outside.clock();
    return drawCandidates(directory, model, {
      verify: (entry) => this.#verifier.verify(entry, directory, now),
      now,
      uniform: () => this.#outside.uniform(),
    });
  }
}

function nobody(model: string, { refused }: Drawn, hint: string): BombyxError {
  const shown = [...new Set(refused.slice(0, SHOWN_REFUSALS))].join("; ");
  const why =
    refused.length === 0
      ? `no worker offers ${model} at this gateway now; nothing was sent`
      : `no worker of ${model} passes the policy; nothing was sent. Refused: ${shown}`;
  return new BombyxError("no_verified_worker", why + hint);
}
