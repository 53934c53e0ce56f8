// What a browser is given: the way to the console, its headers, its files.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { missing, openPage, startBrowser, startDemo } from "./appliance.js";

const POLICY = {
  "default-src": "'none'",
  "script-src": "'self'",
  "style-src": "'self'",
  "connect-src": "'self'",
  "form-action": "'self'",
  "base-uri": "'none'",
  "frame-ancestors": "'none'",
};

describe("the first page", { skip: missing }, () => {
  let demo;
  let browser;

  before(async () => {
    demo = await startDemo();
    browser = await startBrowser();
  });

  after(async () => {
    await browser?.close();
    await demo?.stop();
  });

  test("a browser is led from / to the console", async () => {
    const page = await openPage(browser, demo.url);
    const response = await page.goto("/");
    assert.equal(response.status(), 200);
    assert.equal(new URL(page.url()).pathname, "/console/");
    assert.match(await page.title(), /Pagewire/);
    assert.equal(await page.locator("html").getAttribute("lang"), "en");
    await page.getByRole("heading", { level: 1 }).waitFor();
    assert.deepEqual(page.complaints, []);
  });

  test("its headers keep it to itself", async () => {
    const page = await openPage(browser, demo.url);
    const headers = (await page.goto("/console/")).headers();
    const policy = Object.fromEntries(
      headers["content-security-policy"].split(";").map((rule) => rule.trim().split(/ (.*)/s, 2)),
    );
    for (const [directive, sources] of Object.entries(POLICY)) assert.equal(policy[directive], sources, directive);
    assert.equal(headers["x-content-type-options"], "nosniff");
    assert.equal(headers["referrer-policy"], "no-referrer");
  });

  test("the browser itself enforces that policy", async () => {
    const page = await openPage(browser, demo.url);
    await page.goto("/console/");
    const ran = await page.evaluate(() => {
      const script = document.createElement("script");
      script.textContent = "window.inlineScriptRan = true";
      document.body.append(script);
      return window.inlineScriptRan === true;
    });
    assert.equal(ran, false);
    assert.equal(page.complaints.length, 1, "the refusal is reported");
  });

  test("its files are packed, kept for ever, and light enough", async () => {
    const page = await openPage(browser, demo.url);
    let total = 0;
    page.on("response", async (response) => {
      const { pathname } = new URL(response.url());
      if (!pathname.startsWith("/console/assets/")) return;
      const headers = response.headers();
      assert.equal(headers["cache-control"], "public, max-age=31536000, immutable", pathname);
      assert.ok(["br", "gzip"].includes(headers["content-encoding"]), pathname);
    });
    await page.goto("/console/");
    await page.getByRole("button", { name: "Sign in" }).waitFor();
    const addresses = await page.evaluate(() => performance.getEntriesByType("resource").map((entry) => entry.name));
    for (const address of addresses.filter((name) => name.includes("/assets/"))) {
      const answer = await fetch(address, { headers: { "accept-encoding": "gzip" } });
      total += Number(answer.headers.get("content-length"));
      const unpacked = await fetch(address, { headers: { "accept-encoding": "identity" } });
      assert.equal(unpacked.headers.get("content-encoding"), null);
      assert.equal(await unpacked.text(), await answer.text(), address);
    }
    assert.ok(total > 10_000 && total < 150_000, `${total} bytes at the first load`);
  });

  test("a deep link is the console's page, never kept; a file that is gone is not found", async () => {
    const page = await openPage(browser, demo.url);
    const answer = await page.request.get("/console/jobs/0198-some.thing");
    assert.equal(answer.status(), 200);
    assert.equal(answer.headers()["cache-control"], "no-store");
    assert.match(await answer.text(), /<script type="module"[^>]* src="\/console\/assets\//);
    assert.equal((await page.request.get("/console/assets/gone-12345678.js")).status(), 404);
  });

  test("the API description is OpenAPI 3.1", async () => {
    const page = await openPage(browser, demo.url);
    const description = await (await page.request.get("/openapi.json")).json();
    assert.match(description.openapi, /^3\.1\./);
    assert.ok(description.paths["/fax"].post);
  });

  test("the documentation is reached by keyboard alone", async () => {
    const page = await openPage(browser, demo.url);
    await page.goto("/console/");
    const documentation = page.locator('a[href="/docs"]');
    await documentation.waitFor();
    for (let presses = 0; presses < 10; presses++) {
      await page.keyboard.press("Tab");
      if (await documentation.evaluate((link) => link === document.activeElement)) break;
    }
    await page.keyboard.press("Enter");
    await page.waitForURL("**/docs");
    assert.equal(await page.getByRole("heading", { level: 1 }).count(), 1);
    assert.deepEqual(page.complaints, []);
  });

  for (const path of ["/console/", "/docs"]) {
    test(`${path} fits a telephone, in light and dark`, async () => {
      for (const colorScheme of ["light", "dark"]) {
        const page = await openPage(browser, demo.url, { viewport: { width: 360, height: 740 }, colorScheme });
        await page.goto(path);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
        assert.ok(overflow <= 0, `${overflow} px too wide in ${colorScheme}`);
        assert.deepEqual(page.complaints, []);
      }
    });
  }
});

test("the demo ends in order when it is told to", { skip: missing }, async () => {
  const demo = await startDemo();
  assert.equal(await demo.stop(), 0);
});
