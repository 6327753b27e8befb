/** A web server for the page, which passes `/v1/` on to a gateway that allows no other origin. */

import { existsSync, readFileSync } from "node:fs";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { basename, join } from "node:path";

const PAGE =
  '<!doctype html><meta charset="utf-8"><title>bombyx</title><link rel="icon" href="data:,">' +
  '<script type="module" src="/page.js"></script>';

export interface Site {
  readonly url: string;
  readonly stop: () => Promise<void>;
}

export async function serve(folder: string, gateway: string): Promise<Site> {
  const server = createServer((asked, answer) => {
    const { pathname } = new URL(asked.url ?? "/", "http://page");
    if (pathname.startsWith("/v1/")) return passOn(gateway, asked, answer);
    if (pathname === "/") return answer.setHeader("content-type", "text/html").end(PAGE);
    const file = join(folder, basename(pathname));
    if (!existsSync(file)) return answer.writeHead(404).end();
    return answer.setHeader("content-type", "text/javascript").end(readFileSync(file));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  const stop = () =>
    new Promise<void>((resolve) => {
      server.closeAllConnections();
      server.close(() => resolve());
    });
  return { url: `http://127.0.0.1:${port}`, stop };
}

function passOn(gateway: string, asked: IncomingMessage, answer: ServerResponse): void {
  const { host: _, ...headers } = asked.headers;
  const onward = request(new URL(asked.url ?? "/", gateway), { method: asked.method, headers });
  onward.on("response", (response) => {
    answer.writeHead(response.statusCode ?? 502, response.headers);
    response.pipe(answer);
  });
  onward.on("error", () => answer.destroy());
  answer.on("close", () => onward.destroy());
  asked.pipe(onward);
}

/** Whether a page of another origin may speak to the gateway. */
export async function allowsOtherOrigins(gateway: string): Promise<boolean> {
  const response = await fetch(`${gateway}/v1/chat/completions`, {
    method: "OPTIONS",
    headers: {
      origin: "http://127.0.0.1:1",
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization,content-type",
    },
  });
  await response.arrayBuffer();
  return response.ok && response.headers.has("access-control-allow-origin");
}
