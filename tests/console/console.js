// What every test of the console's screens needs: an appliance with people in it, somebody signed
// in, and a look at a screen as all kinds of people see it.
//
//   const office = await startOffice();                  // a demo, an administrator, a browser
//   const page = await office.signIn("/jobs");           // signed in, on that screen
//   await inspect(page, "jobs");                         // axe, 360 px, screenshots
//   await office.fax("+15551230000", "Hello");           // a fax through the API
//   const viewer = await office.person("Vera", "viewer");
//   await office.signIn("/", { as: viewer });
//   await office.stop();

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { openPage, startBrowser, startDemo } from "./appliance.js";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const SCREENSHOTS = fileURLToPath(new URL("../../target/test/screens", import.meta.url));

export const PASSWORD = "paper and ink 1970";
export const DESK = { width: 1280, height: 900 };
export const PHONE = { width: 360, height: 740 };

/**
 * A demo, or what `start` starts, with the administrator "demo", and a browser that reaches `hosts` too. `at` is the
 * address where people find it, unless it is its own.
 */
export async function startOffice({ start = startDemo, at, hosts } = {}) {
  const demo = await start();
  try {
    const browser = await startBrowser({ hosts });
    await makeAdministrator(demo);
    return new Office(demo, browser, at ?? demo.url);
  } catch (error) {
    await demo.stop();
    throw error;
  }
}

/** Gives the demo's administrator a password; an appliance that has none gets one of that name by its printed link. */
export async function makeAdministrator(started) {
  const person = { username: "demo", password: PASSWORD };
  if (!started.said) return local(started, "POST", "/setup/reset", person);
  const token = (await started.said(/\/setup#token=/)).split("#token=")[1].trim();
  const answer = await fetch(`${started.url}/setup`, { method: "POST", body: JSON.stringify({ token, ...person }) });
  assert.equal(answer.status, 200, await answer.text());
}

class Office {
  #pages = [];

  constructor(demo, browser, url) {
    Object.assign(this, { demo, browser, url, admin: { name: "demo", password: PASSWORD } });
  }

  /** Ends it; whatever a test tolerated, no page asked another host or did what the policy forbids. */
  async stop() {
    await this.browser.close();
    await this.demo.stop();
    const complaints = this.#pages.flatMap((page) => page.complaints);
    assert.deepEqual(complaints.filter((text) => /^elsewhere: |Content Security Policy/.test(text)), []);
  }

  /** A request as the machine's own administrator, over the admin socket. */
  local(method, path, body) {
    return local(this.demo, method, path, body);
  }

  /** A page on its own in a new profile, nobody signed in. `options` are the browser context's. */
  async open(options = {}) {
    const page = await openPage(this.browser, this.url, { viewport: DESK, ...options });
    this.#pages.push(page);
    return page;
  }

  /** A page on this screen, with the administrator, or `as`, signed in. */
  async signIn(path = "/", { as = this.admin, ...options } = {}) {
    const page = await this.open(options);
    await page.goto(`${this.url}/console${path}`);
    await fillSignIn(page, as);
    await page.getByRole("navigation", { name: "Main" }).waitFor({ state: "attached" });
    await page.locator("main h1").waitFor();
    return page;
  }

  /** Somebody with a role, who has chosen a password. */
  async person(name, role) {
    const user = await this.local("POST", "/admin/users", { name, role });
    const token = user.link.url.split("#token=")[1];
    const body = JSON.stringify({ token, password: PASSWORD });
    const answer = await fetch(`${this.url}/setup`, { method: "POST", body });
    assert.equal(answer.status, 200, await answer.text());
    return { name, password: PASSWORD };
  }

  /** Sends a text through the API, with the simulator's key unless told otherwise; answers the fax. */
  async fax(to, text = "A page.", { key = this.demo.test_key, ...fields } = {}) {
    const form = new FormData();
    for (const [name, value] of Object.entries({ to, ...fields })) form.append(name, value);
    form.append("file", new Blob([text], { type: "text/plain" }), "page.txt");
    const answer = await fetch(`${this.url}/fax`, { method: "POST", headers: { "x-api-key": key }, body: form });
    const fax = await answer.json();
    assert.equal(answer.status, 202, JSON.stringify(fax));
    return fax;
  }
}

/** Fills the form in, wherever it is shown. */
export async function fillSignIn(page, { name, password }) {
  await page.getByLabel("User name").fill(name);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
}

/**
 * Looks at what a page shows, in light and dark, at a desk, at twice the size and on a telephone: no
 * violation found by axe, nothing to scroll sideways, nothing that moves, nothing complained of. Keeps
 * the pictures.
 */
export async function inspect(page, name, { complaints = [] } = {}) {
  await mkdir(SCREENSHOTS, { recursive: true });
  const before = page.viewportSize();
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.setViewportSize(DESK);
    await settled(page);
    await page.screenshot({ path: join(SCREENSHOTS, `${name}-${colorScheme}.png`) });
    assert.deepEqual(await violations(page), [], `${name} in ${colorScheme}`);
  }
  await page.emulateMedia({ colorScheme: "light" });
  assert.deepEqual(await moving(page), [], `${name} moves although less motion is wished`);
  // Enlarged to 200 %, a desk's window has room for half of it.
  await page.setViewportSize({ width: DESK.width / 2, height: DESK.height / 2 });
  await settled(page);
  await assertNotTooWide(page, `${name} at 200 %`);
  await page.setViewportSize(PHONE);
  await settled(page);
  await page.screenshot({ path: join(SCREENSHOTS, `${name}-phone.png`) });
  assert.deepEqual(await violations(page), [], `${name} on a telephone`);
  await assertNotTooWide(page, `${name} at 360 px`);
  await page.setViewportSize(before ?? DESK);
  assert.deepEqual(page.complaints, complaints, name);
}

/** What axe finds, in a line each; put into the page past its policy, as a browser's extension would. */
export async function violations(page) {
  await page.evaluate(AXE);
  const found = await page.evaluate(() => window.axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target} ${node.failureSummary ?? ""}`).join(" | ")}`);
}

/** Nothing of a secret is kept where another page or a later person could find it. */
export async function assertNotKept(page, secret) {
  const kept = await page.evaluate(async () => {
    const databases = (await indexedDB.databases?.()) ?? [];
    return JSON.stringify([{ ...localStorage }, { ...sessionStorage }, databases, location.href, document.documentElement.outerHTML]);
  });
  assert.ok(!kept.includes(secret), "a secret was kept in the browser");
}

async function assertNotTooWide(page, what) {
  const overflow = await page.evaluate(() => {
    const dialogs = [...document.querySelectorAll("dialog[open] .body")].map((body) => body.scrollWidth - body.clientWidth);
    return Math.max(document.documentElement.scrollWidth - window.innerWidth, ...dialogs);
  });
  assert.ok(overflow <= 0, `${what} is ${overflow} px too wide`);
}

/** What would move for longer than one sees, in a word each. */
function moving(page) {
  return page.evaluate(() => {
    const longest = (text) => Math.max(...text.split(",").map((part) => parseFloat(part) * (part.trim().endsWith("ms") ? 1 : 1000)));
    const moves = (style) =>
      longest(style.transitionDuration) > 1 ||
      (style.animationName !== "none" && (longest(style.animationDuration) > 1 || style.animationIterationCount === "infinite")) ||
      style.scrollBehavior === "smooth";
    const found = new Set();
    for (const element of document.querySelectorAll("*")) {
      for (const part of ["", "::before", "::after", "::backdrop"]) {
        if (moves(getComputedStyle(element, part))) found.add(`${element.tagName.toLowerCase()}.${element.className}${part}`);
      }
    }
    return [...found];
  });
}

async function settled(page) {
  await page.waitForFunction(() => !document.querySelector(".skeleton"));
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  await page.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.effect?.getTiming().iterations === Infinity || animation.finished.catch(() => {}))));
}

function local({ data_dir }, method, path, body) {
  return new Promise((resolve, reject) => {
    const headers = { host: "localhost", "content-type": "application/json" };
    const request = httpRequest({ socketPath: join(data_dir, "admin.sock"), method, path, headers }, async (response) => {
      let text = "";
      for await (const piece of response) text += piece;
      if (response.statusCode >= 400) reject(new Error(`${method} ${path}: ${response.statusCode} ${text}`));
      else resolve(text && JSON.parse(text));
    });
    request.on("error", reject);
    request.end(body && JSON.stringify(body));
  });
}
