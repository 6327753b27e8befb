/** Which of a gateway's headers reach the SDK beside a sealed answer (SPEC 19). */

import assert from "node:assert/strict";
import { test } from "node:test";
import { answerTo, ask, connect, sealedResponse } from "./peer.js";

test("headers that SDKs read go on with a sealed answer, and no others", async () => {
  const peer = connect(async (request) =>
    sealedResponse(await answerTo(request), {
      headers: { "x-ratelimit-remaining-requests": "7", "openai-processing-ms": "12", server: "x" },
    }),
  );
  const { headers } = await ask(peer);
  assert.equal(headers.get("x-ratelimit-remaining-requests"), "7");
  assert.equal(headers.get("openai-processing-ms"), "12");
  assert.equal(headers.get("server"), null);
  assert.equal(headers.get("x-request-id"), headers.get("x-bombyx-id"));
});
