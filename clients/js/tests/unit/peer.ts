/** A gateway with one worker, whose keys the vectors hold; tests make it lie in one thing. */

import { collateral, directory, evidence, keyset } from "../../src/attestation/documents.js";
import { type Bytes, concat, fromHex, toHex } from "../../src/bytes.js";
import { digestHex, encode } from "../../src/canonical.js";
import {
  createFetch,
  type FetchOptions,
  type PolicyTable,
  type VerifiedAnswer,
  type Waiver,
} from "../../src/index.js";
import { price, ratesOf } from "../../src/money/cost.js";
import { leafHash, type Receipt, type Statement, statementHash } from "../../src/money/receipt.js";
import { type OpenedRequest, openRequest, publicHex, Sealer, sign } from "./sealing.js";
import { load } from "./vectors.js";

const file = load("evidence");
const known = file.at("worker");
export const NOW = file.at("now").number;
export const POLICY = file.at("policy").object as unknown as PolicyTable;
export const WORKER = keyset(known.at("keyset").object, "");
export const MODEL = "smol";
const GATEWAY_SEED = "0a".repeat(32);
export const GATEWAY = publicHex(GATEWAY_SEED);
export const ORIGIN = "http://gateway.test";
export const STREAM = "text/event-stream";
const RECEIPT_SEED = known.at("receipt_seed").text;
const LINK_SEED = known.at("link_seed").text;
const PROOF = evidence(known.at("evidence").object, "");
const COLLATERAL = collateral(file.at("collateral").object, "");
const PRICES = { prompt: "1000000", cached: "500000", completion: "2000000", reasoning: "2000000" };
const TOKENS = { prompt: 5, cached: 0, completion: 3, reasoning: 0 };
const FEE_BPS = 100;

const OFFER = {
  v: "bombyx/1",
  worker: digestHex(WORKER),
  model: MODEL,
  prices: PRICES,
  valid_until: NOW + 600,
  max_concurrency: 4,
} as const;

export const DIRECTORY = {
  gateway: GATEWAY,
  fee_bps: FEE_BPS,
  default_max_output_tokens: 256,
  deadline_s: 900,
  now: NOW,
  workers: [
    {
      keyset: WORKER,
      evidence: PROOF,
      offers: [{ offer: OFFER, signature: sign("offer", OFFER, LINK_SEED) }],
    },
  ],
  collateral: { [digestHex(COLLATERAL)]: COLLATERAL },
};

/** A statement about a request, honest but for what a test changes. */
export function statementOf(request: OpenedRequest, changes: Partial<Statement> = {}): Statement {
  const { header, h } = request.header;
  const [model] = WORKER.models;
  const cost = price(changes.tokens ?? TOKENS, ratesOf(PRICES), FEE_BPS);
  return {
    v: "bombyx/1",
    c: toHex(request.c),
    h: toHex(h),
    id: header.id,
    tier: "sealed",
    payer: header.payer,
    gateway: GATEWAY,
    worker: OFFER.worker,
    boot: WORKER.boot,
    n: 4,
    seq: 1,
    model: MODEL,
    weights: model?.weights ?? "",
    engine: model?.engine ?? "",
    offer: digestHex(OFFER),
    prices: PRICES,
    tokens: TOKENS,
    amount_nano: `${cost.amount}`,
    fee_bps: FEE_BPS,
    fee_nano: `${cost.fee}`,
    charge_nano: `${cost.charge}`,
    req_ct_hash: toHex(request.reqCtHash),
    resp_ct_hash: "00".repeat(32),
    resp_ct_bytes: 0,
    status: "final",
    ticket: "abcd",
    at: NOW * 1000,
    prev: "00".repeat(32),
    ...changes,
  };
}

/** A batch of one, signed by the worker. */
export function receiptOf(statement: Statement, seed = RECEIPT_SEED): Receipt {
  const root = toHex(leafHash(encode(statement)));
  const { boot, gateway, n: first_n } = statement;
  const batch = { boot, gateway, root, count: 1, first_n };
  return { statement, path: [], batch, signature: sign("batch", batch, seed) };
}

export interface Refusing {
  readonly code?: string;
  readonly seed?: string;
  readonly c?: string;
}

/** A 422 with the worker's signed refusal. */
export function refusal(request: OpenedRequest, changes: Refusing = {}): Response {
  const said = {
    worker: OFFER.worker,
    gateway: GATEWAY,
    code: changes.code ?? "busy",
    fault: "worker",
    at: NOW * 1000,
    c: changes.c ?? toHex(request.c),
    h: toHex(request.header.h),
  };
  const signature = sign("refusal", said, changes.seed ?? RECEIPT_SEED);
  const error = { message: "nobody is left", type: "invalid_request_error", code: "no_candidate" };
  const document = { code: "no_candidate", refusals: [{ refusal: said, signature }], error };
  return problem(document);
}

export interface Noting {
  readonly code?: string;
  readonly seed?: string;
  readonly c?: string;
  readonly gateway?: string;
  readonly refusals?: readonly unknown[];
}

/** A 422 with the gateway's note that nothing is billed. */
export function sentAway(request: OpenedRequest, changes: Noting = {}): Response {
  const { code = "no_candidate", refusals = [] } = changes;
  const c = changes.c ?? toHex(request.c);
  const lost = { gateway: changes.gateway ?? GATEWAY, c, at: NOW * 1000 };
  const signature = sign("lost", lost, changes.seed ?? GATEWAY_SEED);
  const error = { message: "nobody is here", type: "invalid_request_error", code };
  return problem({ code, refusals, lost: { lost, signature }, error });
}

export function problem(document: unknown, status = 422): Response {
  const headers = { "content-type": "application/problem+json" };
  return new Response(JSON.stringify(document), { status, headers });
}

export function chunk(content: string): string {
  return `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`;
}

export const USAGE_CHUNK = `data: ${JSON.stringify({ choices: [], usage: { total_tokens: 8 } })}\n\n`;
export const DONE = "data: [DONE]\n\n";

/** An honest answer, of which a test changes the statement or its receipt. */
export interface Lie {
  readonly statement?: Partial<Statement>;
  readonly receipt?: (honest: Receipt) => unknown;
  readonly end?: string;
  readonly error?: string;
  readonly withoutReceipt?: boolean;
  readonly status?: number;
  readonly type?: string;
}

export async function answerTo(request: OpenedRequest, lie: Lie = {}): Promise<Bytes> {
  const { stream } = request.header.header;
  const sealer = await Sealer.of(request);
  await sealer.head(lie.status ?? 200, lie.type ?? (stream ? STREAM : "application/json"));
  if (stream) {
    await sealer.data(chunk("one "));
    const partial = { ...sealer.fixed(), status: "partial", seq: 0 } as const;
    sealer.usage(receiptOf(statementOf(request, partial)));
    await sealer.data(chunk("two") + USAGE_CHUNK + DONE);
  } else {
    const usage = { total_tokens: 8 };
    await sealer.data(JSON.stringify({ choices: [{ message: { content: "one two" } }], usage }));
  }
  if (lie.error !== undefined) await sealer.error(lie.error);
  const status = lie.error === undefined ? "final" : "aborted";
  const statement = statementOf(request, { ...sealer.fixed(), status, ...lie.statement });
  const honest = receiptOf(statement);
  if (lie.withoutReceipt !== true) sealer.usage(lie.receipt?.(honest) ?? honest);
  await sealer.end(lie.end ?? statementHash(statement));
  return sealer.bytes;
}

export function sealedResponse(bytes: Bytes, init: ResponseInit = {}): Response {
  const headers = { "content-type": "application/vnd.bombyx.sealed-stream", ...init.headers };
  return new Response(bytes, { ...init, headers });
}

export type Reply = (request: OpenedRequest, nth: number) => Response | Promise<Response>;

export interface Asked {
  readonly fetch: ReturnType<typeof createFetch>;
  readonly requests: OpenedRequest[];
  readonly bodies: Bytes[];
  readonly urls: string[];
  readonly answers: VerifiedAnswer[];
  readonly disputes: string[];
  readonly waivers: Waiver[];
}

/** A sealing fetch before such a gateway; other addresses are `elsewhere`'s to answer. */
export function connect(
  reply: Reply,
  options: Partial<FetchOptions> = {},
  listing: unknown = DIRECTORY,
  elsewhere?: (request: Request) => Promise<Response>,
): Asked {
  const seeds = known.at("hpke_seeds").bytes;
  const [requests, bodies, urls] = [[] as OpenedRequest[], [] as Bytes[], [] as string[]];
  const [answers, disputes] = [[] as VerifiedAnswer[], [] as string[]];
  const waivers: Waiver[] = [];
  const fetch = createFetch({
    policy: POLICY,
    clock: () => NOW,
    onReceipt: (answer) => answers.push(answer),
    onDispute: ({ code }) => disputes.push(code),
    onWaived: (waiver) => waivers.push(waiver),
    fetch: async (url, init) => {
      if (!url.startsWith(ORIGIN) && elsewhere) return elsewhere(new Request(url, init));
      urls.push(url);
      if (!(init.body instanceof Uint8Array)) return Response.json(listing);
      const sealed = concat(init.body);
      bodies.push(sealed);
      const request = await openRequest(sealed, seeds);
      requests.push(request);
      return reply(request, requests.length);
    },
    ...options,
  });
  return { fetch, requests, bodies, urls, answers, disputes, waivers };
}

export const honestly: Reply = async (request) => sealedResponse(await answerTo(request));

export function lying(lie: Lie): Reply {
  return async (request) => sealedResponse(await answerTo(request, lie));
}

/** Ask as an SDK does. */
export function ask(
  { fetch }: Pick<Asked, "fetch">,
  body: Readonly<Record<string, unknown>> = {},
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> {
  const asked = { model: MODEL, messages: [{ role: "user", content: "hi" }], ...body };
  return fetch(`${ORIGIN}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: "Bearer key", ...headers },
    body: JSON.stringify(asked),
  });
}

/** Code and retry advice of an error answer. */
export async function errorOf(
  response: Response,
): Promise<readonly [number, string, string | null]> {
  const { error } = (await response.json()) as { error: { code: string } };
  return [response.status, error.code, response.headers.get("x-should-retry")];
}

export function directoryOf(changes: Readonly<Record<string, unknown>>): unknown {
  return directory({ ...DIRECTORY, ...changes }, "") && { ...DIRECTORY, ...changes };
}

export const FOREIGN_SEED = toHex(fromHex("09".repeat(32)));
