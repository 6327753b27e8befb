/** From tokens to nano (SPEC 1.4, 2.5), in integers; every division rounds up. */

import { BombyxError } from "../errors.js";
import { MAX_NANO } from "../units.js";
import type { Prices } from "./offer.js";

const PER_MILLION = 10n ** 6n;
const BASIS_POINTS = 10n ** 4n;

/** Inclusive token counts, as in OpenAI's usage object. */
export interface Tokens {
  readonly prompt: number;
  readonly cached: number;
  readonly completion: number;
  readonly reasoning: number;
}

/** Prices as integers: nano per million tokens. */
export interface Rates {
  readonly prompt: bigint;
  readonly cached: bigint;
  readonly completion: bigint;
  readonly reasoning: bigint;
}

/** What a request costs: the worker earns `amount`, the gateway keeps `fee`. */
export interface Cost {
  readonly amount: bigint;
  readonly fee: bigint;
  readonly charge: bigint;
}

export function ratesOf(prices: Prices): Rates {
  return {
    prompt: BigInt(prices.prompt),
    cached: BigInt(prices.cached),
    completion: BigInt(prices.completion),
    reasoning: BigInt(prices.reasoning),
  };
}

function ceilDiv(dividend: bigint, divisor: bigint): bigint {
  return (dividend + divisor - 1n) / divisor;
}

export function greater(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

/** Add the gateway's fee; throws `cost_cap_exceeded` beyond the largest amount. */
function withFee(amount: bigint, feeBps: number): Cost {
  const fee = ceilDiv(amount * BigInt(feeBps), BASIS_POINTS);
  const charge = amount + fee;
  if (charge > MAX_NANO) {
    const why = "the cost is beyond the largest amount: lower max_tokens";
    throw new BombyxError("cost_cap_exceeded", why, "max_tokens");
  }
  return { amount, fee, charge };
}

/** Price the four disjoint classes of tokens. */
export function price(tokens: Tokens, rates: Rates, feeBps: number): Cost {
  const total =
    BigInt(tokens.prompt - tokens.cached) * rates.prompt +
    BigInt(tokens.cached) * rates.cached +
    BigInt(tokens.completion - tokens.reasoning) * rates.completion +
    BigInt(tokens.reasoning) * rates.reasoning;
  return withFee(ceilDiv(total, PER_MILLION), feeBps);
}

/** The most that a request within its token limits can cost (SPEC 2.5). */
export function worstCase(input: number, output: number, rates: Rates, feeBps: number): Cost {
  const total =
    BigInt(input) * greater(rates.prompt, rates.cached) +
    BigInt(output) * greater(rates.completion, rates.reasoning);
  return withFee(ceilDiv(total, PER_MILLION), feeBps);
}

/** How many output tokens `maxCost` still covers after the prompt; -1 where it does not even that. */
export function affordableOutput(
  prompt: number,
  rates: Rates,
  feeBps: number,
  maxCost: bigint,
): number {
  const amount = (maxCost * BASIS_POINTS) / (BASIS_POINTS + BigInt(feeBps));
  const left = amount * PER_MILLION - BigInt(prompt) * greater(rates.prompt, rates.cached);
  if (left < 0n) return -1;
  const rate = greater(rates.completion, rates.reasoning);
  const bought = rate === 0n ? BigInt(Number.MAX_SAFE_INTEGER) : left / rate;
  return Number(bought < Number.MAX_SAFE_INTEGER ? bought : BigInt(Number.MAX_SAFE_INTEGER));
}
