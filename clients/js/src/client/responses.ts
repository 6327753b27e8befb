/** Answers that the client makes itself, in the shape that SDKs expect (SPEC 18, 19). */

import type { BombyxError, OpenAIError } from "../errors.js";

/** Headers that SDKs read, and that say nothing of an answer's content. */
const PASSED_ON =
  /^(?:retry-after(?:-ms)?|x-should-retry|x-request-id|x-ratelimit-[a-z-]+|openai-(?:processing-ms|version))$/;
const JSON_TYPE = { "content-type": "application/json" };

/** An error of our own. `x-should-retry` keeps SDKs from repeating what cannot get better. */
export function errorResponse(error: BombyxError): Response {
  const { status, shouldRetry, retryAfterMs } = error;
  const headers = new Headers(JSON_TYPE);
  if (shouldRetry !== undefined) headers.set("x-should-retry", String(shouldRetry));
  if (retryAfterMs !== undefined) {
    headers.set("retry-after-ms", String(retryAfterMs));
    headers.set("retry-after", String(Math.ceil(retryAfterMs / 1000)));
  }
  return new Response(JSON.stringify(error.envelope()), { status, headers });
}

/** Of a gateway's headers those that go on to the SDK: its word, and shown as such. */
export function passedOn(response: Response): Headers {
  const headers = new Headers();
  response.headers.forEach((value, name) => {
    if (PASSED_ON.test(name)) headers.set(name, value);
  });
  return headers;
}

/** A gateway's own error, with those of its headers that tell when to come back. */
export function relayedError(response: Response, error: OpenAIError): Response {
  const headers = passedOn(response);
  headers.set("content-type", JSON_TYPE["content-type"]);
  return new Response(JSON.stringify({ error }), { status: response.status, headers });
}

/** A whole JSON answer. */
export function jsonResponse(status: number, body: BodyInit, labels: Headers): Response {
  labels.set("content-type", "application/json");
  return new Response(body, { status, headers: labels });
}
