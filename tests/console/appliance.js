// The real appliance and a real browser, for the tests of the console.
//
// Owns: starting and stopping both. The program is PAGEWIRE_BIN, the browser PAGEWIRE_BROWSER; `./dev test console`
// sets them.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

import { chromium } from "playwright-core";

/** A demo creates keys and delivers a fax before it says that it is ready. */
const START_MS = 30_000;

const QUIET_BROWSER = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
  // Names resolve to nothing, so that a request to another host fails even where there is a network.
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
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
  const program = process.env.PAGEWIRE_BIN ?? "../../target/debug/pagewire";
  const child = spawn(program, ["demo", "--listen", "127.0.0.1:0", "--json"], {
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

/** Starts the browser without a window. */
export function startBrowser() {
  return chromium.launch({ executablePath: process.env.PAGEWIRE_BROWSER, headless: true, args: QUIET_BROWSER });
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
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== new URL(url).origin) complaints.push(`elsewhere: ${request.url()}`);
  });
  return Object.assign(page, { complaints });
}
