/** A real streamd, as another process on a port of its own. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** @typedef {import("node:test").TestContext} TestContext */

const STREAMD =
  process.env.STREAMD ?? fileURLToPath(new URL("../../../.venv/bin/streamd", import.meta.url));

/** A daemon that can be killed and started again in the same place. */
export class Daemon {
  /** @type {import("node:child_process").ChildProcess | null} */
  #process = null;
  #port = "0";

  /**
   * @param {string} directory where it runs
   * @param {string[]} options of `streamd serve`
   */
  constructor(directory, options) {
    this.directory = directory;
    this.options = options;
    this.url = "";
  }

  /** Start it, and wait until it listens. */
  async start() {
    const options = ["serve", "--port", this.#port, "--drain", "0.1", ...this.options];
    const child = spawn(STREAMD, options, {
      cwd: this.directory,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#process = child;
    let said = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (said += text));
    }
    while (!said.includes("\n\n") || !/ws:\S+/.test(said)) {
      await Promise.race([
        once(child.stdout, "data"),
        once(child, "exit").then(() => Promise.reject(new Error(`streamd said: ${said}`))),
      ]);
    }
    this.url = String(said.match(/ws:\S+/)?.[0]);
    this.#port = new URL(this.url).port;
  }

  /**
   * End it, by this signal, and wait until it is gone.
   *
   * @param {"SIGTERM" | "SIGKILL"} [signal]
   */
  async stop(signal = "SIGTERM") {
    const child = this.#process;
    this.#process = null;
    if (child !== null && child.exitCode === null) {
      child.kill(signal);
      await once(child, "exit");
    }
  }
}

/**
 * Start a streamd in a directory of its own, and end it after the test.
 *
 * @param {TestContext} t
 * @param {...string} options
 */
export async function startDaemon(t, ...options) {
  const directory = await mkdtemp(join(tmpdir(), "streamd-"));
  const daemon = new Daemon(directory, options);
  t.after(async () => {
    await daemon.stop();
    await rm(directory, { recursive: true });
  });
  await daemon.start();
  return daemon;
}
