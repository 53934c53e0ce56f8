// The first page a browser sees, until the console has screens.

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
    assert.equal(await page.getByRole("heading", { level: 1 }).count(), 1);
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

  test("every link on it leads somewhere", async () => {
    const page = await openPage(browser, demo.url);
    await page.goto("/console/");
    const links = await page.getByRole("link").evaluateAll((all) => all.map((link) => link.getAttribute("href")));
    assert.ok(links.includes("/docs"), `${links}`);
    assert.ok(links.includes("/openapi.json"), `${links}`);
    for (const link of links) {
      const response = await page.request.get(link);
      assert.equal(response.status(), 200, link);
    }
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
