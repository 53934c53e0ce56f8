// Wherever the appliance stands: below a path of a reverse proxy, and on the network over HTTPS.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { networkInterfaces } from "node:os";
import { after, before, describe, test } from "node:test";

import { missing, startServe } from "./appliance.js";
import { fillSignIn, startOffice } from "./console.js";

const LETTER = { name: "letter.txt", mimeType: "text/plain", buffer: Buffer.from("One.\fTwo.") };

/** Sends a fax from the screen and waits until it is delivered, without a look at the list. */
async function sendAndFollow(page) {
  await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "Send" }).click();
  await page.getByLabel("Fax number", { exact: true }).fill("+15550100001");
  await page.locator("input[type=file]").setInputFiles([LETTER]);
  await page.getByText("2 pages · about").waitFor();
  await page.getByRole("button", { name: /^Send to/ }).click();
  await page.getByRole("heading", { name: "All 2 pages were delivered." }).waitFor();
}

/** What the button beside the lines for curl puts where one pastes from. */
async function copiedLines(page) {
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  const lines = page.getByRole("region", { name: "curl lines" }).locator("..");
  await lines.getByRole("button", { name: "Copy curl lines" }).click();
  await lines.getByText("Copied").waitFor();
  return page.evaluate(() => navigator.clipboard.readText());
}

describe("below a path of a reverse proxy", { skip: missing }, () => {
  const PREFIX = "/office/fax";
  let office;
  let proxy;
  /** What was asked for beside the path. */
  const strayed = [];

  before(async () => {
    let target;
    proxy = createServer((request, response) => {
      if (!request.url.startsWith(`${PREFIX}/`)) {
        strayed.push(request.url);
        return response.writeHead(404).end();
      }
      const headers = { ...request.headers, "x-forwarded-for": "127.0.0.2" };
      const { hostname, port } = new URL(target);
      const path = request.url.slice(PREFIX.length);
      const asked = httpRequest({ hostname, port, path, method: request.method, headers }, (answer) => {
        response.writeHead(answer.statusCode, answer.rawHeaders);
        answer.pipe(response);
      });
      // A browser that leaves ends its streams, and ours with them.
      asked.on("error", () => response.destroy());
      response.on("close", () => asked.destroy());
      return request.pipe(asked);
    });
    proxy.listen(0, "127.0.0.1");
    await once(proxy, "listening");
    const env = { PAGEWIRE_PATH_PREFIX: PREFIX, PAGEWIRE_TRUSTED_PROXIES: "127.0.0.1", PAGEWIRE_ROUTE: "loopback" };
    office = await startOffice({ start: () => startServe({ env }), at: `http://127.0.0.1:${proxy.address().port}${PREFIX}` });
    target = office.demo.url;
  });

  after(async () => {
    await office?.stop();
    proxy?.close();
  });

  test("one signs in, sends, follows live, downloads and reads", async () => {
    const page = await office.open();
    await page.goto(`${office.url}/`);
    assert.equal(page.url(), `${office.url}/console/`);
    await fillSignIn(page, office.admin);
    await page.getByRole("heading", { name: "Line and limits" }).waitFor();
    await sendAndFollow(page);
    assert.ok(page.url().startsWith(`${office.url}/console/jobs/`));

    await page.locator(".strip img").first().evaluate((picture) => picture.decode());
    // A browser shows it instead of keeping it, where it can.
    const pdf = page.waitForEvent("download");
    await page.getByRole("link", { name: "PDF" }).evaluate((link) => (link.download = ""));
    await page.getByRole("link", { name: "PDF" }).click();
    assert.match((await pdf).suggestedFilename(), /^fax-.*\.pdf$/);
    assert.equal(await (await pdf).failure(), null);

    await page.reload();
    await page.getByRole("heading", { name: "All 2 pages were delivered." }).waitFor();
    await page.goBack();
    await page.getByRole("heading", { name: "Send a fax" }).waitFor();
    assert.match(await copiedLines(page), new RegExp(`^curl ${office.url}/fax `));

    await page.goto(`${office.url}/console/about`);
    await page.getByText(/svelte 5\.\d+\.\d+ \(MIT\)/).waitFor();
    await page.getByRole("link", { name: "Documentation" }).click();
    await page.waitForURL(`${office.url}/docs`);
    await page.getByRole("link", { name: "Webhooks" }).first().click();
    await page.waitForURL(`${office.url}/docs/webhooks`);
    assert.equal(await page.evaluate(() => getComputedStyle(document.body).margin), "0px");
    const library = await page.request.get(`${office.url}/sdk/faxbot-node.tgz`);
    assert.equal(library.status(), 200);
    assert.deepEqual(strayed, []);
    assert.deepEqual(page.complaints, []);
  });

  test("who signs out is at the door again", async () => {
    const page = await office.signIn("/jobs");
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("button", { name: "Sign in" }).waitFor();
    assert.equal(page.url(), `${office.url}/console/jobs`);
    assert.deepEqual(strayed, []);
    assert.deepEqual(page.complaints, []);
  });
});

describe("on the network", { skip: missing }, () => {
  let office;
  let address;

  before(async () => {
    const own = Object.values(networkInterfaces()).flat();
    address = own.find(({ family, internal }) => family === "IPv4" && !internal)?.address ?? "127.0.0.1";
    const start = async () => {
      const served = await startServe({ args: ["--https-listen", "0.0.0.0:0", "--route", "loopback"] });
      const [, port] = (await served.said(/and on https:/)).match(/https:\/\/0\.0\.0\.0:(\d+)/);
      return { ...served, https: `https://${address}:${port}` };
    };
    office = await startOffice({ start, hosts: [address] });
    office.url = office.demo.https;
  });

  after(() => office?.stop());

  test("the certificate is good for whoever trusts the appliance's authority", async () => {
    const ca = await (await fetch(`${office.demo.url}/ca.pem`)).text();
    const answer = await new Promise((resolve, reject) => {
      httpsRequest(`${office.url}/health`, { ca }, resolve).on("error", reject).end();
    });
    assert.equal(answer.statusCode, 200);
    answer.resume();
  });

  test("one signs in with a cookie that is for HTTPS alone, sends, follows live, copies", async () => {
    // The chain was tried above; the browser of the tests cannot be given an authority.
    const page = await office.signIn("/", { ignoreHTTPSErrors: true });
    const cookies = await page.context().cookies();
    assert.equal(cookies.length, 1);
    const [{ name, secure, httpOnly, sameSite }] = cookies;
    assert.deepEqual({ secure, httpOnly, sameSite }, { secure: true, httpOnly: true, sameSite: "Strict" });
    assert.match(name, /^__Host-/);
    await sendAndFollow(page);
    await page.goBack();
    assert.match(await copiedLines(page), new RegExp(`^curl ${office.url}/fax `));
    assert.deepEqual(page.complaints, []);
  });
});
