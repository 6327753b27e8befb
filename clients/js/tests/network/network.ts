/** A running network of processes, as `bombyx up --engine scripted` starts it. */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { asRecord } from "../../src/schema.js";

const REPOSITORY = new URL("../../../../../", import.meta.url);
const STOP_SECONDS = 20;

export interface Network {
  readonly gateway: string;
  readonly apiKey: string;
  readonly model: string;
  /** The policy in TOML. */
  readonly policy: string;
  readonly folder: string;
  readonly stop: () => Promise<void>;
}

/** The project's command line: an environment's, else the repository's own. */
export function bombyx(): string {
  const named = process.env["BOMBYX"];
  return named ?? fileURLToPath(new URL(".venv/bin/bombyx", REPOSITORY));
}

export async function startNetwork(): Promise<Network> {
  const folder = mkdtempSync(join(tmpdir(), "bombyx-js-"));
  const ports = ["--port", await freePort(), "--gateway-port", await freePort()];
  const options = ["up", "--engine", "scripted", "--json", "--state", folder, ...ports];
  const child = spawn(bombyx(), options, { stdio: ["ignore", "pipe", "inherit"] });
  try {
    const said = asRecord(JSON.parse(await firstLine(child)));
    const models: unknown = said?.["models"];
    return {
      gateway: textOf(said, "gateway"),
      apiKey: textOf(said, "api_key"),
      model: Array.isArray(models) ? String(models[0]) : "",
      policy: readFileSync(textOf(said, "policy"), "utf8"),
      folder,
      stop: () => stop(child, folder),
    };
  } catch (error) {
    await stop(child, folder);
    throw error;
  }
}

function textOf(record: Readonly<Record<string, unknown>> | undefined, key: string): string {
  const value = record?.[key];
  if (typeof value === "string") return value;
  throw new TypeError(`bombyx up says nothing of ${key}: ${JSON.stringify(record?.["error"])}`);
}

/** A port that is free now, below those that the system gives to outgoing connections. */
function freePort(): Promise<string> {
  const port = 10_000 + Math.floor(20_000 * Math.random());
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(freePort()));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(String(port))));
  });
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = "";
    child.stdout?.on("data", (piece: Buffer) => {
      said += piece.toString("utf8");
      if (said.includes("\n")) resolve(said.slice(0, said.indexOf("\n")));
    });
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`bombyx up ended with ${code}`)));
  });
}

async function stop(child: ChildProcess, folder: string): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGINT");
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_SECONDS * 1000);
    await ended;
    clearTimeout(timer);
  }
  rmSync(folder, { recursive: true, force: true });
}
