/**
 * Shapes of documents (SPEC 1.6): a schema reads an unknown value into its type or says where it
 * does not fit. Unknown keys are refused, and there is no null.
 */

/** Thrown for a value that does not fit; the path is made of our own keys, never of content. */
export class Misfit extends Error {
  constructor(path: string, wanted: string) {
    super(`${path || "the document"} is not ${wanted}`);
    this.name = "Misfit";
  }
}

export type Schema<T> = (value: unknown, path: string) => T;
export type Infer<S> = S extends Schema<infer T> ? T : never;

const LONE_SURROGATE = /\p{Cs}/u;

interface Length {
  readonly min?: number;
  readonly max?: number;
}

function fits(value: string, { min = 0, max = Number.POSITIVE_INFINITY }: Length): boolean {
  if (value.length <= max) return value.length >= min;
  return [...value].length <= max; // counted in code points, as the other implementations do
}

export function string(pattern: RegExp | null = null, length: Length = {}): Schema<string> {
  return (value, path) => {
    const good =
      typeof value === "string" &&
      fits(value, length) &&
      !LONE_SURROGATE.test(value) &&
      (pattern === null || pattern.test(value));
    if (!good) throw new Misfit(path, "text of the right form");
    return value;
  };
}

export function integer(min: number, max: number): Schema<number> {
  return (value, path) => {
    if (!Number.isSafeInteger(value)) throw new Misfit(path, "an integer");
    const number = Number(value);
    if (number < min || number > max) throw new Misfit(path, "within its bounds");
    return number;
  };
}

export const boolean: Schema<boolean> = (value, path) => {
  if (typeof value !== "boolean") throw new Misfit(path, "true or false");
  return value;
};

export function oneOf<const T extends string>(...allowed: readonly T[]): Schema<T> {
  return (value, path) => {
    const found = allowed.find((one) => one === value);
    if (found === undefined) throw new Misfit(path, "one of its values");
    return found;
  };
}

export function array<T>(item: Schema<T>, { min = 0, max }: Length): Schema<readonly T[]> {
  return (value, path) => {
    const good = Array.isArray(value) && value.length >= min && value.length <= (max ?? Infinity);
    if (!good) throw new Misfit(path, "a list of the right length");
    return value.map((one, index) => item(one, `${path}[${index}]`));
  };
}

export function pair<A, B>(first: Schema<A>, second: Schema<B>): Schema<readonly [A, B]> {
  return (value, path) => {
    if (!Array.isArray(value) || value.length !== 2) throw new Misfit(path, "a pair");
    return [first(value[0], `${path}[0]`), second(value[1], `${path}[1]`)];
  };
}

/** A plain object with string keys, or undefined. */
export function asRecord(value: unknown): Readonly<Record<string, unknown>> | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  return Object.fromEntries(Object.entries(value));
}

export function mapOf<T>(item: Schema<T>): Schema<ReadonlyMap<string, T>> {
  return (value, path) => {
    const record = asRecord(value);
    if (record === undefined) throw new Misfit(path, "an object");
    return new Map(Object.entries(record).map(([key, one]) => [key, item(one, `${path}.*`)]));
  };
}

type Fields = Readonly<Record<string, Schema<unknown>>>;
type Required_<F extends Fields> = { readonly [K in keyof F]: Infer<F[K]> };
type Optional_<F extends Fields> = { readonly [K in keyof F]?: Infer<F[K]> };

/** An object of exactly these keys; `others` says what happens to keys that nobody named. */
export function object<R extends Fields, O extends Fields = Record<never, never>>(
  required: R,
  optional?: O,
  others: "refused" | "ignored" = "refused",
): Schema<Required_<R> & Optional_<O>> {
  const known = new Map<string, Schema<unknown>>(
    Object.entries({ ...required, ...(optional ?? {}) }),
  );
  return (value, path) => {
    const record = asRecord(value);
    if (record === undefined) throw new Misfit(path, "an object");
    for (const key of Object.keys(record)) {
      if (others === "refused" && !known.has(key)) throw new Misfit(path, "free of unknown keys");
    }
    const out: Record<string, unknown> = {};
    for (const [key, schema] of known) {
      const there = Object.hasOwn(record, key);
      if (there) out[key] = schema(record[key], path ? `${path}.${key}` : key);
      else if (Object.hasOwn(required, key)) throw new Misfit(`${path}.${key}`, "there");
    }
    return out as Required_<R> & Optional_<O>; // each key was read by its own schema above
  };
}
