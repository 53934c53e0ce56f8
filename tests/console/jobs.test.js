// The list of jobs: live, searched, filtered, long.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { missing } from "./appliance.js";
import { inspect, PHONE, startOffice } from "./console.js";

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

describe("many jobs at once", { skip: missing }, () => {
  let office;
  const nextYear = new Date(Date.now() + 365 * 86_400_000).toISOString();

  before(async () => {
    office = await startOffice();
    for (let at = 1; at <= 5; at++) await office.fax(`+1555018000${at}`, "Later.", { key: office.demo.api_key, tag: `later-${at}`, schedule_at: nextYear });
  });

  after(() => office?.stop());

  const row = (page, text) => page.getByRole("row").filter({ hasText: text });
  const box = (page, text) => row(page, text).getByRole("checkbox");
  const bar = (page) => page.getByRole("region", { name: "Chosen faxes" });

  test("rows are chosen by keys, by ranges and all together, and Escape lets them go", async () => {
    const page = await office.signIn("/jobs");
    await box(page, "later-5").waitFor();
    await page.keyboard.press("j");
    await page.keyboard.press("x");
    assert.ok(await box(page, "later-5").isChecked());
    await box(page, "later-5").focus();
    await page.keyboard.press("Space");
    assert.equal(await bar(page).count(), 0);
    await box(page, "later-5").click();
    await box(page, "later-3").click({ modifiers: ["Shift"] });
    await bar(page).getByText("3 chosen").waitFor();
    assert.ok(await box(page, "later-4").isChecked());
    await page.getByRole("checkbox", { name: "Choose all shown" }).click();
    await bar(page).getByText("6 chosen").waitFor();
    await page.keyboard.press("Escape");
    await bar(page).waitFor({ state: "hidden" });
    assert.ok(!(await box(page, "later-5").isChecked()));
    assert.deepEqual(page.complaints, []);
  });

  test("each verb says of how many it is, and what it is not for stays as it is and chosen", async () => {
    const page = await office.signIn("/jobs");
    await box(page, "later-5").click();
    await box(page, "later-3").click({ modifiers: ["Shift"] });
    await bar(page).getByRole("button", { name: "Hold 3", exact: true }).click();
    await page.getByText("3 held.", { exact: true }).waitFor();
    await row(page, "later-3").getByText("held", { exact: true }).waitFor();
    await bar(page).waitFor({ state: "hidden" });

    await page.getByRole("checkbox", { name: "Choose all shown" }).click();
    for (const name of ["Hold 2 of 6", "Release 3 of 6", "Send again 1 of 6", "Cancel 5 of 6"]) await bar(page).getByRole("button", { name, exact: true }).waitFor();
    await page.getByRole("button", { name: "Dismiss" }).click();
    await inspect(page, "jobs-chosen");
    await bar(page).getByRole("button", { name: "Release 3 of 6" }).click();
    await bar(page).getByText("3 chosen").waitFor();
    await bar(page).getByText("3 released.", { exact: true }).waitFor();

    await page.getByRole("checkbox", { name: "Choose all shown" }).click();
    await bar(page).getByRole("button", { name: "Cancel 5 of 6" }).click();
    const dialog = page.getByRole("dialog", { name: "Cancel 5 faxes?" });
    await dialog.getByText("The other one stays as it is.").waitFor();
    await inspect(page, "jobs-cancel");
    await dialog.getByRole("button", { name: "Leave them" }).click();
    await bar(page).getByText("6 chosen").waitFor();
    await bar(page).getByRole("button", { name: "Cancel 5 of 6" }).click();
    await dialog.getByRole("button", { name: "Cancel 5 faxes" }).click();
    await bar(page).getByText("5 cancelled.", { exact: true }).waitFor();
    await bar(page).getByText("1 chosen").waitFor();
    assert.ok(await box(page, "+1 555 123 4567").isChecked());
    assert.deepEqual(page.complaints, []);
  });

  test("many are sent again at once, and what arrives twice is told before", async () => {
    const page = await office.signIn("/jobs");
    await page.getByRole("checkbox", { name: "Choose all shown" }).click();
    await bar(page).getByRole("button", { name: "Send again 6" }).click();
    const dialog = page.getByRole("dialog", { name: "Send 6 faxes again?" });
    await dialog.getByText("1 of them was delivered and arrives a second time.").waitFor();
    await dialog.getByRole("button", { name: "Send again 6 faxes" }).click();
    await page.getByText("6 sent again.", { exact: true }).waitFor();
    await page.getByText("12 faxes").waitFor();
    await bar(page).waitFor({ state: "hidden" });
    assert.deepEqual(page.complaints, []);
  });

  test("a refusal is told in the server's own words, and its row stays chosen; on a telephone too", async () => {
    for (const at of [6, 7]) await office.fax(`+1555018000${at}`, "Later.", { key: office.demo.api_key, tag: `later-${at}`, schedule_at: nextYear });
    const page = await office.signIn("/jobs");
    await page.setViewportSize(PHONE);
    // It ends between the last look at it and the press.
    let refused;
    await page.route(/\/fax\/[^/]+$/, (route, request) => {
      if (request.method() !== "DELETE" || refused) return route.fallback();
      refused = request.url();
      const detail = "The fax is delivered already; only a fax that has not ended can be cancelled.";
      return route.fulfill({ status: 409, contentType: "application/problem+json", body: JSON.stringify({ detail }) });
    });
    await box(page, "later-7").click();
    await box(page, "later-6").click();
    await bar(page).getByRole("button", { name: "Cancel 2", exact: true }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Cancel 2 faxes" }).click();
    await bar(page).getByText("1 cancelled; 1 could not: The fax is delivered already; only a fax that has not ended can be cancelled.").waitFor();
    await bar(page).getByText("1 chosen").waitFor();
    assert.equal(page.complaints.filter((text) => text === `409: ${refused}`).length, 1);
    await inspect(page, "jobs-refused", { complaints: page.complaints });
  });

  test("an operator holds nothing, but cancels", async () => {
    const page = await office.signIn("/jobs", { as: await office.person("Olga", "operator") });
    const file = { name: "page.txt", mimeType: "text/plain", buffer: Buffer.from("A page.") };
    const multipart = { to: "+15550180009", tag: "hers", schedule_at: nextYear, file };
    const sent = await page.request.post("/fax", { headers: { "x-console": "1", origin: office.url }, multipart });
    assert.equal(sent.status(), 202, await sent.text());
    await box(page, "hers").click();
    assert.deepEqual(await bar(page).getByRole("button").allInnerTexts(), ["Cancel 1", ""]);
    assert.deepEqual(page.complaints, []);
  });
});
