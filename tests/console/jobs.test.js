// The list of jobs: live, searched, filtered, long.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { missing } from "./appliance.js";
import { inspect, startOffice } from "./console.js";

describe("jobs", { skip: missing }, () => {
  let office;

  before(async () => {
    office = await startOffice();
  });

  after(() => office?.stop());

  test("a fax appears and ends on the list without anybody touching it", async () => {
    const page = await office.signIn("/jobs");
    await page.getByText("+1 555 123 4567").waitFor();
    await office.fax("+15550100001", "Live.", { key: office.demo.api_key, tag: "live-1" });
    const row = page.getByRole("row").filter({ hasText: "live-1" });
    await row.getByText("delivered").waitFor();
    assert.deepEqual(page.complaints, []);
  });

  test("it is searched and filtered, and the address says how", async () => {
    await office.fax("+15550199999", "Other.", { key: office.demo.api_key });
    const page = await office.signIn("/jobs");
    await page.getByRole("searchbox").fill("+1 555 019");
    await page.waitForURL(/q=%2B1555019/);
    await page.getByText("1 fax found").waitFor();
    await page.reload();
    await page.getByText("1 fax found").waitFor();
    await page.getByLabel("State").selectOption("FAILED");
    await page.getByRole("heading", { name: "No fax is like that" }).waitFor();
    await page.getByRole("button", { name: "Show all" }).click();
    await page.getByText("+1 555 123 4567").first().waitFor();
    assert.deepEqual(page.complaints, []);
  });

  test("a long list draws only what is in sight, and goes on", async () => {
    for (let at = 0; at < 130; at++) await office.fax(`+1555017${String(at).padStart(4, "0")}`, "Many.", { key: office.demo.api_key });
    const page = await office.signIn("/jobs");
    await page.getByText(/13\d faxes/).waitFor();
    assert.ok((await page.getByRole("row").count()) < 60);
    await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
    await page.waitForFunction(() => Number(document.querySelector("[data-at]:last-child")?.dataset.at) > 100);
    await page.evaluate(() => scrollTo(0, 0));
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    await page.keyboard.press("Enter");
    await page.waitForURL(/\/console\/jobs\/[0-9a-f-]+$/);
    assert.deepEqual(page.complaints, []);
  });

  test("it looks right", async () => {
    const page = await office.signIn("/jobs");
    await page.getByText("+1 555 123 4567").or(page.getByText("+1 555 017 0129")).first().waitFor();
    await inspect(page, "jobs");
  });
});
