// The real appliance and a real browser, for the tests of the console.
//
// Owns: starting and stopping both. The program is PAGEWIRE_BIN, the browser PAGEWIRE_BROWSER; `./dev test console`
// sets them.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { chromium } from "playwright-core";

/** A demo creates keys and delivers a fax before it says that it is ready. */
const START_MS = 30_000;

const PROGRAM = process.env.PAGEWIRE_BIN ?? "../../target/debug/pagewire";

const QUIET_BROWSER = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
];

/** Why the tests cannot run here, or false. */
export const missing = process.env.PAGEWIRE_BROWSER
  ? false
  : "no Chromium was found; install chromium, chromium-browser or google-chrome";

/**
 * Starts `pagewire demo` on a free port.
 *
 * Answers its `url`, `admin_key`, `api_key`, `test_key`, `data_dir`, and `stop()`, which resolves to the exit code.
 */
export async function startDemo() {
  const child = spawn(PROGRAM, ["demo", "--listen", "127.0.0.1:0", "--json"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exit = once(child, "exit").then(([code]) => code);
  const ready = once(createInterface(child.stdout), "line", { signal: AbortSignal.timeout(START_MS) });
  const ended = exit.then((code) => {
    throw new Error(`the demo ended with ${code} before it was ready`);
  });
  try {
    const [line] = await Promise.race([ready, ended]);
    ended.catch(() => {});
    const stop = () => {
      child.kill("SIGTERM");
      return exit;
    };
    return { ...JSON.parse(line), stop };
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
}

/**
 * Starts `pagewire serve`, in a new folder unless told of one, its plain HTTP on a free port of this machine.
 *
 * `args` are its arguments, `env` its environment beside ours. Answers its `url`, `data_dir`, `said(pattern)`, which
 * resolves to the first line of its log that is like that, and `stop()`, which removes a folder that was new.
 */
export async function startServe({ folder, args = ["--https-listen", ""], env = {} } = {}) {
  const data_dir = folder ?? (await mkdtemp(join(tmpdir(), "pagewire-test-")));
  const child = spawn(PROGRAM, ["serve", "--data-dir", data_dir, "--listen", "127.0.0.1:0", ...args], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, ...env },
  });
  const exit = once(child, "exit");
  const lines = [];
  const log = createInterface(child.stderr).on("line", (line) => lines.push(line));
  const said = async (pattern) => {
    const signal = AbortSignal.timeout(START_MS);
    for (let at = 0; ; at++) {
      if (at === lines.length) await once(log, "line", { signal });
      if (pattern.test(lines[at])) return lines[at];
    }
  };
  const stop = async () => {
    child.kill("SIGTERM");
    await exit;
    if (!folder) await rm(data_dir, { recursive: true, force: true });
  };
  const ended = exit.then(([code]) => {
    throw new Error(`it ended with ${code} before it served:\n${lines.join("\n")}`);
  });
  try {
    const line = await Promise.race([said(/listens on http:/), ended]);
    ended.catch(() => {});
    return { url: line.match(/http:\S+/)[0], data_dir, said, stop };
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
}

/** Starts the browser without a window; it reaches this machine, and `hosts`. */
export function startBrowser({ hosts = [] } = {}) {
  // Names resolve to nothing, so that a request to another host fails even where there is a network.
  const reached = ["127.0.0.1", ...hosts].map((host) => `EXCLUDE ${host}`);
  const args = [...QUIET_BROWSER, `--host-resolver-rules=${["MAP * ~NOTFOUND", ...reached].join(", ")}`];
  return chromium.launch({ executablePath: process.env.PAGEWIRE_BROWSER, headless: true, args });
}

/**
 * Opens a page in a profile of its own that remembers what went wrong on it.
 *
 * Answers the page; `page.complaints` collects console errors, exceptions, failed requests, answers from 400 and
 * requests to anywhere but `url`.
 */
export async function openPage(browser, url, options = {}) {
  const context = await browser.newContext({ baseURL: url, ...options });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`exception: ${error.message}`));
  page.on("requestfailed", (request) => {
    // A page that is left, or a search that is typed on, gives its requests up.
    if (request.failure()?.errorText !== "net::ERR_ABORTED") complaints.push(`failed: ${request.url()}`);
  });
  page.on("response", (response) => {
    if (response.status() >= 400) complaints.push(`${response.status()}: ${response.url()}`);
  });
  // All pages of it, such as one that a link opened.
  context.on("request", (request) => {
    if (new URL(request.url()).origin !== new URL(url).origin) complaints.push(`elsewhere: ${request.url()}`);
  });
  return Object.assign(page, { complaints });
}
