/**
 * Errors with the codes of SPEC 19: what was wrong, and what the caller may do. Messages are
 * sentences for people and never hold prompts, answers, keys or signatures.
 */

interface Meaning {
  readonly status: number;
  readonly type: string;
  readonly retry?: boolean;
  /** When to come back. */
  readonly retryAfterMs?: number;
}

const request = (status: number): Meaning => ({
  status,
  type: "invalid_request_error",
  retry: false,
});
const upstream: Meaning = { status: 502, type: "upstream_error" };
const attestation: Meaning = { status: 502, type: "attestation_error", retry: false };

/** The codes that this client can raise; a test holds them equal to SPEC 19. */
export const CODES = {
  bad_auth: request(400),
  bad_signature: request(400),
  cannot_open: request(400),
  clock_ahead: request(400),
  cost_cap_exceeded: request(400),
  invalid_json: request(400),
  invalid_request: request(400),
  malformed_frame: request(400),
  malformed_header: request(400),
  malformed_sealed_request: request(400),
  not_canonical: request(400),
  not_sealable: request(400),
  unsupported_value: request(400),
  model_not_found: request(404),
  idempotency_conflict: request(409),
  request_too_large: request(413),
  unsupported_media_type: request(415),
  internal_error: { status: 500, type: "server_error" },
  setup_error: { status: 500, type: "server_error", retry: false },
  bad_answer: upstream,
  bad_stream: upstream,
  relay_interrupted: upstream,
  truncated: upstream,
  unproven_refusal: upstream,
  upstream_failed: upstream,
  bad_receipt: { ...upstream, retry: false },
  invalid_statement: { ...upstream, retry: false },
  evidence_refused: attestation,
  gateway_refused: attestation,
  no_verified_worker: attestation,
  policy_error: attestation,
  worker_refused: attestation,
  overloaded: { status: 503, type: "overloaded_error", retry: true, retryAfterMs: 1000 },
} as const satisfies Record<string, Meaning>;

export type Code = keyof typeof CODES;

/** OpenAI's error object, the one shape that every client understands. */
export interface OpenAIError {
  readonly message: string;
  readonly type: string | null;
  readonly code: string | null;
  readonly param: string | null;
}

/** The root: anything this library refuses or fails at, on purpose. */
export class BombyxError extends Error {
  readonly code: Code;
  readonly param: string | null;

  constructor(code: Code, message: string, param: string | null = null) {
    super(message);
    this.name = "BombyxError";
    this.code = code;
    this.param = param;
  }

  /** The HTTP status that goes with the code. */
  get status(): number {
    return CODES[this.code].status;
  }

  /** What `x-should-retry` says; undefined leaves it to the SDK. */
  get shouldRetry(): boolean | undefined {
    const meaning: Meaning = CODES[this.code];
    return meaning.retry;
  }

  /** What `retry-after-ms` says; undefined where waiting does not help. */
  get retryAfterMs(): number | undefined {
    const meaning: Meaning = CODES[this.code];
    return meaning.retryAfterMs;
  }

  /** The error as OpenAI's envelope holds it. */
  envelope(): { readonly error: OpenAIError } {
    const { type } = CODES[this.code];
    return { error: { message: this.message, type, code: this.code, param: this.param } };
  }
}

/** Raised inside the verification when one step fails; `step` is its name (SPEC 17.1). */
export class EvidenceRefused<Step extends string = string> extends BombyxError {
  readonly step: Step;

  constructor(step: Step, message: string) {
    super("evidence_refused", message);
    this.name = "EvidenceRefused";
    this.step = step;
  }
}

/** Whether an error is ours and has one of these codes. */
export function hasCode(error: unknown, ...codes: readonly Code[]): error is BombyxError {
  return error instanceof BombyxError && codes.includes(error.code);
}
