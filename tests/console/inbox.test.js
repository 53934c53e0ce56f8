// Received faxes: the list, the viewer, sending one on.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { missing } from "./appliance.js";
import { inspect, startOffice } from "./console.js";

const PAGES = Array.from({ length: 3 }, (_, at) => `This is page ${at + 1}.`).join("\f");

describe("the inbox", { skip: missing }, () => {
  let office;

  before(async () => {
    office = await startOffice();
    await office.fax("+15550100001", PAGES, { key: office.demo.api_key });
  });

  after(() => office?.stop());

  /** The newest fax of the inbox, when it has come. */
  async function newest(to) {
    for (let tries = 0; tries < 100; tries++) {
      const answer = await fetch(`${office.url}/inbound`, { headers: { "x-api-key": office.demo.api_key } });
      const found = (await answer.json()).find((row) => row.to === to);
      if (found) return found;
      await new Promise((done) => setTimeout(done, 100));
    }
    throw new Error(`nothing came in for ${to}`);
  }

  test("a fax comes in by itself, is read, noted, and sent on", async () => {
    const page = await office.signIn("/inbox");
    await office.fax("+15550100002", PAGES, { key: office.demo.api_key });
    const fax = await newest("+15550100002");
    const row = page.getByRole("row").filter({ hasText: "+1 555 010 0002" });
    await row.getByText("Unread:").waitFor({ state: "attached" });
    await row.locator("img").waitFor();
    await inspect(page, "inbox");

    await row.getByRole("link").click();
    await page.waitForURL(`**/inbox/${fax.id}`);
    await page.getByRole("img", { name: "Page 1" }).waitFor();
    await page.getByRole("button", { name: "Mark as unread" }).waitFor();
    await inspect(page, "inbox-viewer");

    await page.getByLabel("For", { exact: true }).selectOption({ label: "demo (me)" });
    await page.getByLabel("Note").fill("Call back on Monday");
    await page.getByRole("button", { name: "Keep the note" }).click();
    await page.getByRole("button", { name: "Keep the note" }).waitFor({ state: "hidden" });

    await page.getByRole("button", { name: "Forward" }).click();
    const dialog = page.getByRole("dialog", { name: "Forward this fax" });
    await dialog.getByRole("button", { name: "Send it on" }).click();
    await dialog.getByText("Enter the number it shall go to.").waitFor();
    await dialog.getByLabel("To").fill("+1 555 010 0003");
    await inspect(page, "inbox-forward");
    await dialog.getByRole("button", { name: "Send it on" }).click();
    await page.getByText("On its way to +1 555 010 0003.").waitFor();
    assert.equal((await newest("+15550100003")).pages, 3);

    await page.getByRole("link", { name: "← Inbox" }).click();
    const read = page.getByRole("row").filter({ hasText: "Call back on Monday" });
    await read.getByText("demo", { exact: true }).waitFor();
    assert.equal(await read.getByText("Unread:").count(), 0);
    await page.getByLabel("Show").selectOption("unread");
    await page.waitForURL(/show=unread/);
    await page.getByText("+1 555 010 0002").waitFor({ state: "hidden" });
    await page.getByLabel("Show").selectOption("");
    await page.getByRole("searchbox").fill("monday");
    await page.waitForURL(/q=monday/);
    await page.getByRole("row").filter({ hasText: "+1 555 010 0003" }).waitFor({ state: "hidden" });
    assert.equal(await page.getByRole("row").count(), 2);
    assert.deepEqual(page.complaints, []);
  });

  test("by keyboard alone: open, turn pages, zoom, turn, print, unread", async () => {
    await newest("+15550100001");
    const page = await office.signIn("/inbox");
    await page.addInitScript(() => {
      window.print = () => (window.printed = [...document.querySelectorAll(".paper img")].length);
    });
    await page.reload();
    await page.getByText("+1 555 010 0001").waitFor();
    await page.getByText("+1 555 010 0003").waitFor();
    await page.keyboard.press("j");
    await page.keyboard.press("Enter");
    await page.getByRole("img", { name: "Page 1" }).waitFor();
    const status = page.getByRole("status").filter({ hasText: "Page" });
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    assert.equal(await status.textContent(), "Page 3 of 3");
    await page.getByRole("img", { name: "Page 3" }).waitFor();
    await page.keyboard.press("ArrowLeft");
    assert.equal(await status.textContent(), "Page 2 of 3");

    const leaf = page.locator(".leaf");
    const whole = await leaf.evaluate((element) => element.offsetWidth);
    await page.keyboard.press("+");
    assert.ok((await leaf.evaluate((element) => element.offsetWidth)) > whole * 1.2);
    await page.keyboard.press("0");
    assert.equal(await leaf.evaluate((element) => element.offsetWidth), whole);
    await page.keyboard.press("r");
    assert.match(await leaf.evaluate((element) => element.style.transform), /rotate\(90deg\)/);
    await inspect(page, "inbox-turned");

    await page.keyboard.press("p");
    await page.waitForFunction(() => window.printed === 3);
    const before = page.url();
    await page.keyboard.press("j");
    await page.waitForFunction((address) => location.href !== address, before);
    await page.getByRole("img", { name: "Page 1" }).waitFor();
    await page.getByRole("button", { name: "Mark as unread" }).waitFor();
    await page.keyboard.press("u");
    await page.getByRole("heading", { name: "Inbox", level: 1 }).waitFor();
    await page.getByText("Unread:").first().waitFor({ state: "attached" });
    assert.deepEqual(page.complaints, []);
  });

  test("documents are downloaded, and a fax is deleted for good", async () => {
    await office.fax("+15550100004", PAGES, { key: office.demo.api_key });
    const fax = await newest("+15550100004");
    const page = await office.signIn(`/inbox/${fax.id}`);
    for (const [name, type] of [["PDF", "application/pdf"], ["TIFF", "image/tiff"]]) {
      const link = page.getByRole("link", { name, exact: true });
      const answer = await page.request.get(await link.getAttribute("href"));
      assert.equal(answer.headers()["content-type"], type);
    }
    await page.getByRole("button", { name: "Delete…" }).click();
    const dialog = page.getByRole("dialog", { name: "Delete this fax?" });
    await inspect(page, "inbox-delete");
    await dialog.getByRole("button", { name: "Delete it" }).click();
    await page.getByText("The fax was deleted.").waitFor();
    assert.deepEqual(page.complaints, []);
    await page.goto(`/console/inbox/${fax.id}`);
    await page.getByRole("heading", { name: "This fax is not here" }).waitFor();
  });
});
