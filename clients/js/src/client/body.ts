/**
 * Reading a request's body as far as its header needs (SPEC 2.2 to 2.4). Messages of errors never
 * repeat what a client wrote.
 */

import { type Bytes, text, utf8 } from "../bytes.js";
import { BombyxError } from "../errors.js";
import { asRecord } from "../schema.js";

export const CHAT_PATH = "/v1/chat/completions";
const MAX_CHOICES = 16;
const MAX_MODEL_NAME = 128;
const MAX_LIMIT = Math.floor(Number.MAX_SAFE_INTEGER / MAX_CHOICES);

export type Body = Readonly<Record<string, unknown>>;

/** What the outside of a sealed request must agree with. */
export interface RequestHead {
  readonly model: string;
  readonly stream: boolean;
  readonly choices: number;
  /** The total over all choices; undefined where the body names no limit. */
  readonly maxOutput: number | undefined;
}

/** Read one JSON object; throws `invalid_json`. */
export function parseBody(raw: Bytes): Body {
  let value: unknown;
  try {
    value = JSON.parse(text(raw));
  } catch {
    value = undefined; // the parser's own message can quote the body
  }
  const body = asRecord(value);
  if (body === undefined) throw new BombyxError("invalid_json", "the body is not a JSON object");
  return body;
}

/** Read model, stream and limits; throws `invalid_request` or `unsupported_value`. */
export function requestHead(body: Body): RequestHead {
  const choices = choicesOf(body);
  const limit = limitPerChoice(body);
  return {
    model: modelOf(body),
    stream: flag(body, "stream"),
    choices,
    maxOutput: limit === undefined ? undefined : limit * choices,
  };
}

function modelOf(body: Body): string {
  const model = body["model"];
  if (typeof model !== "string" || model.length < 1 || model.length > MAX_MODEL_NAME) {
    throw wrong("model", "model names the model, 1 to 128 characters");
  }
  return model;
}

function flag(body: Body, name: string): boolean {
  const value = body[name] ?? false;
  if (typeof value !== "boolean") throw wrong(name, `${name} is true or false`);
  return value;
}

function isCount(value: unknown, max: number): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 1 && value <= max;
}

function choicesOf(body: Body): number {
  const value = body["n"] ?? 1;
  if (isCount(value, MAX_CHOICES)) return value;
  throw new BombyxError("unsupported_value", `n lies between 1 and ${MAX_CHOICES}`, "n");
}

function limitPerChoice(body: Body): number | undefined {
  let found: number | undefined;
  for (const name of ["max_completion_tokens", "max_tokens"]) {
    const value = body[name] ?? undefined;
    if (value === undefined) continue;
    if (!isCount(value, MAX_LIMIT)) throw wrong(name, `${name} is a positive integer`);
    if (found !== undefined && found !== value) {
      throw wrong(name, "max_tokens and max_completion_tokens differ");
    }
    found = value;
  }
  return found;
}

function wrong(param: string, why: string): BombyxError {
  return new BombyxError("invalid_request", why, param);
}

/** What a model's record says of the size of prompts (SPEC 2.4). */
export interface Bounds {
  readonly bytes_factor: number;
  readonly overhead: number;
  readonly max_image_tokens: number;
}

/** What of a prompt's size does not depend on the model. */
export interface PromptSize {
  readonly text: number;
  readonly images: number;
}

export function promptSize(body: Body, raw: Bytes): PromptSize {
  return { text: textBytes(body, raw), images: parts(body).filter(isImage).length };
}

/** The largest number of prompt tokens of this size with a model of these bounds. */
export function maxInputBound({ text: size, images }: PromptSize, bounds: Bounds): number {
  return size * bounds.bytes_factor + bounds.overhead + images * bounds.max_image_tokens;
}

/** Longest spelling of a number that another implementation may write where ours is shorter. */
const NUMBER_SLACK = 24;
const FRACTION = /-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/g;

/** UTF-8 length of the compact JSON of the body, with every `data:` image emptied. */
export function textBytes(body: Body, raw: Bytes): number {
  return utf8(JSON.stringify(withoutImages(body))).length + slack(text(raw));
}

function withoutImages(body: Body): Body {
  const messages: unknown = body["messages"];
  if (!Array.isArray(messages)) return body;
  const emptied = messages.map((message: unknown) => {
    const record = asRecord(message);
    const content: unknown = record?.["content"];
    if (!Array.isArray(content)) return message;
    return {
      ...record,
      content: content.map((part: unknown) => (isImage(part) ? empty(part) : part)),
    };
  });
  return { ...body, messages: emptied };
}

/** JavaScript writes 1.0 as 1, and large numbers otherwise than others do: room for those. */
function slack(json: string): number {
  const numbers = outsideStrings(json).match(FRACTION) ?? [];
  const odd = numbers.filter((number) => /[.eE]/.test(number) && !isPlain(number));
  return NUMBER_SLACK * odd.length;
}

/** Valid JSON without its strings; by hand, since images are strings of millions of characters. */
function outsideStrings(json: string): string {
  const pieces: string[] = [];
  for (let at = 0; ; ) {
    const open = json.indexOf('"', at);
    if (open < 0) return pieces.concat(json.slice(at)).join("");
    pieces.push(json.slice(at, open));
    at = afterString(json, open + 1);
  }
}

/** Where a string that began before `from` has ended: at a quote that no backslash escapes. */
function afterString(json: string, from: number): number {
  for (let at = from; ; ) {
    const quote = json.indexOf('"', at);
    if (quote < 0) return json.length;
    let escapes = 0;
    while (json[quote - 1 - escapes] === "\\") escapes += 1;
    if (escapes % 2 === 0) return quote + 1;
    at = quote + 1;
  }
}

/** A short decimal, which everybody spells alike. */
function isPlain(number: string): boolean {
  return /^-?[0-9]{1,9}\.[0-9]{1,4}$/.test(number) && String(Number(number)) === number;
}

function parts(body: Body): readonly unknown[] {
  const messages: unknown = body["messages"];
  if (!Array.isArray(messages)) return [];
  return messages.flatMap((message: unknown) => {
    const content = asRecord(message)?.["content"];
    return Array.isArray(content) ? content : [];
  });
}

function isImage(part: unknown): part is Body {
  return asRecord(part)?.["type"] === "image_url";
}

/** The image part without the data that its URL may hold. */
function empty(part: Body): Body {
  const image = asRecord(part["image_url"]);
  const url = image?.["url"];
  if (typeof url !== "string" || !url.startsWith("data:")) return part;
  return { ...part, image_url: { ...image, url: "" } };
}
