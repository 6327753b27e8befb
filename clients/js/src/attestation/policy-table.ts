/** Reads a policy's tables key by key and names what is wrong with its dotted path (SPEC 17.3). */

import { BombyxError } from "../errors.js";
import { asRecord } from "../schema.js";

/** Entries of one list or table: policies are written by people, and a lookup stays cheap. */
const MAX_ENTRIES = 4096;
const MASK = /^0x[0-9a-f]{1,16}$/;
const NAME = /^[A-Za-z0-9._:/@+-]{1,128}$/;

/** One table of a policy; every key must be taken before `finish`. */
export class Table {
  readonly #source: Readonly<Record<string, unknown>>;
  readonly #path: string;
  readonly #left: Set<string>;

  constructor(source: unknown, path = "") {
    const record = asRecord(source);
    if (record === undefined || Object.keys(record).length > MAX_ENTRIES) {
      throw wrong(path || "it", "must be a table");
    }
    this.#source = record;
    this.#path = path;
    this.#left = new Set(Object.keys(record));
  }

  /** Refuse the keys that nobody took. */
  finish(): void {
    const [unknown] = [...this.#left].sort();
    if (unknown !== undefined) {
      throw new BombyxError("policy_error", `policy: unknown key ${this.#dotted(unknown)}`);
    }
  }

  has(key: string): boolean {
    return Object.hasOwn(this.#source, key);
  }

  integer(key: string): number {
    const value = this.#required(key);
    if (typeof value !== "number" || !Number.isSafeInteger(value)) {
      throw wrong(this.#dotted(key), "must be an integer");
    }
    return value;
  }

  /** An integer of 0 to 2^53 - 1; absent is the default. */
  count(key: string, absent: number): number {
    const value = this.#optional(key, absent);
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
      throw wrong(this.#dotted(key), "must be an integer, not below 0");
    }
    return value;
  }

  /** A boolean; absent is false. */
  flag(key: string): boolean {
    const value = this.#optional(key, false);
    if (typeof value !== "boolean") throw wrong(this.#dotted(key), "must be true or false");
    return value;
  }

  /** A mask of up to 64 bits, written `0x…`, in its shortest form; absent is the default. */
  bits(key: string, absent: string): string {
    const value = this.#optional(key, absent);
    if (typeof value !== "string" || !MASK.test(value)) {
      throw wrong(this.#dotted(key), 'must be bits in hex, such as "0x10"');
    }
    return `0x${BigInt(value).toString(16)}`;
  }

  /** A required string. */
  text(key: string): string {
    const value = this.#required(key);
    if (typeof value !== "string") throw wrong(this.#dotted(key), "must be a string");
    return value;
  }

  /** A list of strings of a form, sorted; absent is empty. */
  texts(key: string, form: RegExp): readonly string[] {
    const items = this.#list(key).map((item) => {
      if (typeof item === "string" && form.test(item)) return item;
      throw wrong(this.#dotted(key), "holds what cannot be in it");
    });
    return sorted(items);
  }

  /** As `hexes`, under its key; absent is nothing: nobody asks. */
  listed(key: string, size: number): Readonly<Record<string, readonly string[]>> {
    const form = new RegExp(`^[0-9a-f]{${2 * size}}$`);
    return this.has(key) ? { [key]: this.texts(key, form) } : {};
  }

  choice<const T extends string>(key: string, allowed: readonly T[]): T {
    return this.#oneOf(key, this.#required(key), allowed);
  }

  /** A list of strings out of a few, sorted; absent is empty. */
  choices<const T extends string>(key: string, allowed: readonly T[]): readonly T[] {
    return sorted(this.#list(key).map((item) => this.#oneOf(key, item, allowed)));
  }

  /** A list of digests of `size` bytes in lower-case hex, sorted; absent is empty. */
  hexes(key: string, size: number): readonly string[] {
    const pattern = new RegExp(`^[0-9a-f]{${2 * size}}$`);
    const items = this.#list(key).map((item) => {
      if (typeof item === "string" && pattern.test(item)) return item;
      throw wrong(this.#dotted(key), `must hold ${size} bytes each, in lower-case hex`);
    });
    return sorted(items);
  }

  /** A table within this one; absent is empty. */
  table(key: string): Table {
    this.#left.delete(key);
    return new Table(this.has(key) ? this.#source[key] : {}, this.#dotted(key));
  }

  /** The keys of a table of names, sorted. */
  names(): readonly string[] {
    for (const key of Object.keys(this.#source)) {
      if (!NAME.test(key)) throw wrong(this.#path, "holds a name that no model can have");
    }
    return Object.keys(this.#source).sort();
  }

  #required(key: string): unknown {
    this.#left.delete(key);
    if (!this.has(key)) throw wrong(this.#dotted(key), "is missing");
    return this.#source[key];
  }

  #optional(key: string, absent: unknown): unknown {
    this.#left.delete(key);
    return this.has(key) ? this.#source[key] : absent;
  }

  #list(key: string): readonly unknown[] {
    this.#left.delete(key);
    const value = this.has(key) ? this.#source[key] : [];
    if (!Array.isArray(value) || value.length > MAX_ENTRIES) {
      throw wrong(this.#dotted(key), "must be a list");
    }
    return value;
  }

  #oneOf<T extends string>(key: string, value: unknown, allowed: readonly T[]): T {
    const found = allowed.find((one) => one === value);
    if (found === undefined) throw wrong(this.#dotted(key), `must be of ${allowed.join(", ")}`);
    return found;
  }

  #dotted(key: string): string {
    return this.#path ? `${this.#path}.${key}` : key;
  }
}

function sorted<T extends string>(items: readonly T[]): readonly T[] {
  return [...new Set(items)].sort();
}

function wrong(key: string, what: string): BombyxError {
  return new BombyxError("policy_error", `policy: ${key} ${what}`);
}
