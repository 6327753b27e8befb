/** The golden bytes of the repository, read from where all implementations read them. */

import { readFileSync } from "node:fs";
import { fromHex } from "../../src/bytes.js";

export const ROOT = new URL("../../../../../", import.meta.url);

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json;
}

export function load(name: string): Node {
  const path = new URL(`tests/vectors/${name}.json`, ROOT);
  return new Node(JSON.parse(readFileSync(path, "utf8")), name);
}

/** A place in a file of vectors; asking for what is not there fails the test. */
export class Node {
  readonly value: Json;
  readonly #path: string;

  constructor(value: Json, path: string) {
    this.value = value;
    this.#path = path;
  }

  at(...keys: readonly (string | number)[]): Node {
    return keys.reduce<Node>((node, key) => node.#child(key), this);
  }

  get text(): string {
    if (typeof this.value !== "string") throw new TypeError(`${this.#path} is no text`);
    return this.value;
  }

  get number(): number {
    if (typeof this.value !== "number") throw new TypeError(`${this.#path} is no number`);
    return this.value;
  }

  get bytes() {
    return fromHex(this.text);
  }

  get items(): readonly Node[] {
    if (!Array.isArray(this.value)) throw new TypeError(`${this.#path} is no list`);
    return this.value.map((_, index) => this.#child(index));
  }

  get object(): JsonObject {
    const { value } = this;
    if (typeof value !== "object" || value === null || isList(value)) {
      throw new TypeError(`${this.#path} is no object`);
    }
    return value;
  }

  #child(key: string | number): Node {
    const { value } = this;
    const path = `${this.#path}.${key}`;
    const found =
      typeof key === "number"
        ? isList(value) && value[key]
        : typeof value === "object" && value !== null && !isList(value) && value[key];
    if (found === undefined || (found === false && value === false)) {
      throw new TypeError(`there is no ${path}`);
    }
    return new Node(found, path);
  }
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}
