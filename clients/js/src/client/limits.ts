/**
 * The limits that a header promises (SPEC 2.3 to 2.5): tokens in, tokens out, the most it can cost.
 * All three are maxima over the candidates, since any one of them may answer.
 */

import type { Directory } from "../attestation/documents.js";
import type { Bytes } from "../bytes.js";
import { BombyxError, hasCode } from "../errors.js";
import { affordableOutput, greater, ratesOf, worstCase } from "../money/cost.js";
import { type Body, maxInputBound, promptSize, type RequestHead } from "./body.js";
import type { Chosen } from "./choice.js";

/** A limit that we choose ourselves leaves room for at least this many tokens. */
const LEAST_OUTPUT = 16;

/** A request that will be sealed, read as far as its header needs. */
export interface Call {
  readonly raw: Bytes;
  readonly body: Body;
  readonly head: RequestHead;
}

/** The three limits of a header; `maxCost` in nano. */
export interface Limits {
  readonly maxInput: number;
  readonly maxOutput: number;
  readonly maxCost: bigint;
}

/** The header's limits; throws `cost_cap_exceeded` when the caller's own cap forbids them. */
export function limitsOf(
  call: Call,
  chosen: readonly Chosen[],
  directory: Directory,
  cap: bigint | undefined,
): Limits {
  const { model } = call.head;
  const fee = directory.fee_bps;
  const size = promptSize(call.body, call.raw);
  const inputs = chosen.map(({ worker }) => maxInputBound(size, worker.model(model)));
  const maxInput = Math.max(...inputs);
  const worst = (output: number): bigint =>
    chosen
      .map(({ offer }) => worstCase(maxInput, output, ratesOf(offer.prices), fee).charge)
      .reduce(greater);
  const own = (): number => {
    const wanted = Math.min(directory.default_max_output_tokens, longest(call, chosen));
    const least = Math.max(LEAST_OUTPUT, call.head.choices);
    if (cap === undefined || !isWithin(cap, () => worst(0))) return Math.max(wanted, least);
    const affordable = chosen.map(({ offer }) =>
      affordableOutput(maxInput, ratesOf(offer.prices), fee, cap),
    );
    return Math.max(Math.min(wanted, ...affordable), least);
  };
  const maxOutput = call.head.maxOutput ?? own();
  const maxCost = worst(maxOutput);
  if (cap !== undefined && maxCost > cap) throw beyondCap(maxCost, cap);
  return { maxInput, maxOutput, maxCost };
}

function longest({ head }: Call, chosen: readonly Chosen[]): number {
  return Math.max(...chosen.map(({ worker }) => worker.model(head.model).context)) * head.choices;
}

/** Whether a cost is within the cap; one beyond the largest amount is not. */
function isWithin(cap: bigint, cost: () => bigint): boolean {
  try {
    return cost() <= cap;
  } catch (error) {
    if (hasCode(error, "cost_cap_exceeded")) return false;
    throw error;
  }
}

function beyondCap(cost: bigint, cap: bigint): BombyxError {
  const why =
    `the request can cost ${cost} nano and the client's cap is ${cap}: ` +
    "lower max_tokens or raise the cap";
  return new BombyxError("cost_cap_exceeded", why, "max_tokens");
}
