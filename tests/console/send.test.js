// From a document to its report: sending, following live, failing, correcting the number.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { missing } from "./appliance.js";
import { assertNotKept, inspect, PHONE, startOffice } from "./console.js";

const text = (name, pages = 1) => ({
  name,
  mimeType: "text/plain",
  // A form feed begins a page.
  buffer: Buffer.from(Array.from({ length: pages }, (_, at) => `${name}, page ${at + 1}`).join("\f")),
});

describe("sending a fax", { skip: missing }, () => {
  let office;

  before(async () => {
    office = await startOffice();
  });

  after(() => office?.stop());

  /** Fills the form in, waits for the pages, and sends. */
  async function send(page, to, ...files) {
    await page.getByLabel("Fax number", { exact: true }).fill(to);
    await page.locator("input[type=file]").setInputFiles(files);
    await page.getByText(/on the line$/).waitFor();
    await page.getByRole("button", { name: /^Send to/ }).click();
    await page.waitForURL(/\/console\/jobs\/[0-9a-f-]+$/);
  }

  test("send, follow it live, delivered", async () => {
    const page = await office.signIn("/send");
    await send(page, "+1 500 555 0000", text("letter.txt", 2));
    await page.getByRole("heading", { name: "All 2 pages were delivered." }).waitFor();
    await page.getByRole("button", { name: "Page 2, confirmed" }).waitFor();
    await page.getByText("2 of 2 confirmed by their machine").waitFor();
    await page.getByRole("list", { name: "Signals of the call" }).getByText("MCF, arrived well").first().waitFor({ state: "attached" });
    await inspect(page, "job-delivered");
  });

  test("what is missing stands beside its field", async () => {
    const page = await office.signIn("/send");
    await page.getByRole("button", { name: "Send", exact: true }).click();
    await page.getByText("Enter the fax number.").waitFor();
    await page.getByText("Add a document, or a cover page with a message.").waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.name), "to");
    await page.getByLabel("Fax number", { exact: true }).fill("call me");
    await page.getByText("A fax number has digits only").waitFor();
    await page.getByLabel("Send later").check();
    await page.getByText("Choose day and time.").waitFor();
    assert.deepEqual(page.complaints, []);
  });

  test("documents are dropped, put in order and taken out; the pages are the very ones", async () => {
    const page = await office.signIn("/send");
    const dropped = await page.evaluateHandle(() => {
      const transfer = new DataTransfer();
      for (const name of ["one.txt", "two.txt", "three.txt"]) transfer.items.add(new File([name], name, { type: "text/plain" }));
      return transfer;
    });
    await page.dispatchEvent("main", "drop", { dataTransfer: dropped });
    const names = page.locator(".files .name");
    await page.getByText("3 pages · about").waitFor();
    await page.getByRole("button", { name: "Move three.txt up" }).click();
    assert.deepEqual(await names.allTextContents(), ["one.txt", "three.txt", "two.txt"]);
    await page.locator(".files li").nth(2).dragTo(page.locator(".files li").nth(0));
    assert.deepEqual(await names.allTextContents(), ["two.txt", "one.txt", "three.txt"]);
    await page.getByRole("button", { name: "Remove one.txt" }).click();
    await page.getByText("2 pages · about").waitFor();
    await page.getByRole("button", { name: /^Page 1, about/ }).click();
    const viewer = page.getByRole("dialog", { name: "Page 1 of 2" });
    await viewer.getByRole("img").evaluate((picture) => picture.decode());
    await page.keyboard.press("+");
    await viewer.getByText("150 %").waitFor();
    await page.keyboard.press("n");
    await page.getByRole("dialog", { name: "Page 2 of 2" }).waitFor();
    await inspect(page, "viewer");
    await page.keyboard.press("Escape");
  });

  test("a cover page, a dark page, and where it will dial", async () => {
    const page = await office.signIn("/send");
    await page.getByLabel("Fax number", { exact: true }).fill("(212) 555-1234");
    await page.getByLabel("Cover page first").check();
    await page.getByLabel("For", { exact: true }).fill("Dr. Okafor");
    await page.getByLabel("Subject").fill("Results");
    await page.getByLabel("Message").fill("As discussed.");
    const black = await page.evaluate(async () => {
      const canvas = Object.assign(document.createElement("canvas"), { width: 850, height: 1100 });
      canvas.getContext("2d").fillRect(0, 0, 850, 1100);
      const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
      return Array.from(new Uint8Array(await blob.arrayBuffer()));
    });
    await page.locator("input[type=file]").setInputFiles({ name: "scan.png", mimeType: "image/png", buffer: Buffer.from(black) });
    await page.getByText("2 pages · about").waitFor();
    await page.getByText("+1 212 555 1234 (New York)").waitFor();
    await page.getByText(/Page 2: \d+ % of this page is black/).waitFor();
    await page.getByText("First fax to this number").waitFor();
    await page.getByText("More choices").click();
    await page.getByLabel("Urgency").selectOption("high");
    const curl = page.getByRole("region", { name: "curl lines" });
    for (const part of ["$API_KEY", "to=2125551234", "cover=1", "subject=Results", "priority=high", "file=@scan.png"]) {
      assert.ok((await curl.textContent()).includes(part), part);
    }
    await page.getByRole("tab", { name: "Python" }).click();
    await page.getByRole("region", { name: "Python lines" }).getByText('os.environ["API_KEY"]').waitFor();
    await inspect(page, "send");
  });

  test("of a number that nobody sent to before one is told that the fax will wait for a look", async () => {
    await office.local("PUT", "/admin/settings", { "line.second_look": "first_time everywhere" });
    const page = await office.signIn("/send");
    await page.getByLabel("Fax number", { exact: true }).fill("+12125550177");
    await page.locator("input[type=file]").setInputFiles({ name: "letter.txt", mimeType: "text/plain", buffer: Buffer.from("One.") });
    await page.getByText("No fax was delivered to +1 212 555 0177 before, and it is not in the address book.").waitFor();
    await office.local("PUT", "/admin/settings", { "line.second_look": null });
    assert.deepEqual(page.complaints, []);
  });

  test("it is sent as a key, later, and let go early", async () => {
    const page = await office.signIn("/send");
    await page.getByLabel("Fax number", { exact: true }).fill("+15005550000");
    await page.locator("input[type=file]").setInputFiles([text("later.txt")]);
    await page.getByText("More choices").click();
    const keys = page.getByLabel("Send as");
    const test = (await keys.locator("option").allTextContents()).find((name) => /simulator/.test(name));
    await keys.selectOption({ label: test });
    await page.getByText("no telephone rings").waitFor();
    await page.getByLabel("Send later").check();
    await page.getByLabel("Day and time").fill("2040-01-01T09:30");
    await page.getByRole("button", { name: /^Schedule to/ }).click();
    await page.getByRole("heading", { name: "It waits for its time." }).waitFor();
    await page.getByText("Sent by key").waitFor();
    await page.getByRole("button", { name: "Send now" }).click();
    await page.getByRole("heading", { name: "The page was delivered." }).waitFor();
    for (const key of [office.demo.api_key, office.demo.test_key]) await assertNotKept(page, key);
    assert.deepEqual(page.complaints, []);
  });

  test("from the page of a key, one sends with that key", async () => {
    const page = await office.signIn("/keys");
    await page.getByRole("table").getByRole("link").first().click();
    await page.getByRole("link", { name: "Send a fax with it" }).click();
    const key = new URL(page.url()).searchParams.get("as_key");
    const chosen = page.getByLabel("Send as");
    await chosen.waitFor();
    assert.equal(await chosen.inputValue(), key);
    await send(page, "+15005550000", text("as-key.txt"));
    await page.getByRole("link", { name: key }).waitFor();
    assert.deepEqual(page.complaints, []);
  });

  test("one document to several numbers, each looked at, followed as a group", async () => {
    const page = await office.signIn("/send");
    await page.getByLabel("Fax number", { exact: true }).fill("+1 500 555 0000");
    await page.locator("input[type=file]").setInputFiles([text("group.txt")]);
    await page.getByText("1 page · about").waitFor();
    await page.getByRole("button", { name: "Another number" }).click();
    await page.getByLabel("Fax number 2").evaluate((field) => {
      const clipboardData = new DataTransfer();
      clipboardData.setData("text/plain", "(212) 555-0100;\t1 500 555 0000\n");
      field.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
    });
    assert.equal(await page.getByLabel("Fax number 3").inputValue(), "1 500 555 0000");
    await page.getByText("Will dial +1 212 555 0100").waitFor();
    await page.getByLabel("Fax number 3").fill("+15005550000");
    await page.getByText("It is named before").waitFor();
    await page.getByLabel("Fax number 3").fill("call them");
    await page.getByLabel("Fax number 3").and(page.locator("[aria-invalid=true]")).waitFor();
    await page.getByText("A fax number has digits only").waitFor();
    // One that must not be called: the server says so, at its field.
    await office.local("PUT", "/admin/policy/numbers/15550109999", { ruling: "block", reason: "Mistaken before" });
    await page.getByLabel("Fax number 3").fill("+1 555 010 9999");
    await page.getByRole("listitem").filter({ hasText: "Fax number 3" }).locator(".bad").waitFor();
    await page.getByLabel("Fax number 3").fill("+15005550004");
    await page.getByText("Will dial +1 500 555 0004").waitFor();
    const curl = await page.getByRole("region", { name: "curl lines" }).textContent();
    for (const to of ["+15005550000", "2125550100", "+15005550004"]) assert.ok(curl.includes(`to=${to}`), to);
    await inspect(page, "send-group");
    await page.getByRole("button", { name: "Send to 3 numbers" }).click();
    await page.waitForURL(/\/console\/groups\/[0-9a-f-]+$/);
    await page.getByRole("heading", { name: "One document to 3 numbers" }).waitFor();
    await page.getByRole("heading", { name: "2 of 3 delivered, 1 failed." }).waitFor();
    assert.equal(await page.getByRole("button", { name: "Cancel what is left" }).count(), 0);
    await inspect(page, "group");
    await page.getByRole("link", { name: "+1 500 555 0004" }).click();
    await page.getByRole("link", { name: "one document to several numbers" }).click();
    await page.getByRole("heading", { name: "One document to 3 numbers" }).waitFor();
    assert.deepEqual(page.complaints, []);
  });

  test("what is left of a group is cancelled", async () => {
    const page = await office.signIn("/send");
    await page.getByLabel("Fax number", { exact: true }).fill("+15005550000");
    await page.getByRole("button", { name: "Another number" }).click();
    await page.keyboard.type("+12125550100");
    await page.locator("input[type=file]").setInputFiles([text("cancelled.txt")]);
    await page.getByLabel("Send later").check();
    await page.getByLabel("Day and time").fill("2040-01-01T09:30");
    await page.getByRole("button", { name: "Schedule to 2 numbers" }).click();
    await page.getByRole("heading", { name: /2 scheduled/ }).waitFor();
    await page.getByRole("button", { name: "Cancel what is left" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Cancel what is left" }).click();
    await page.getByRole("heading", { name: /2 cancelled/ }).waitFor();
    await page.getByRole("table", { name: "Faxes of the group" }).getByText("cancelled").first().waitFor();
    assert.deepEqual(page.complaints, []);
  });

  test("a wrong number fails; it is corrected and delivered", async () => {
    const page = await office.signIn("/send");
    await send(page, "+15005550004", text("wrong.txt"));
    await page.getByRole("heading", { name: "The number is not in service or is wrong." }).waitFor();
    await page.getByText("Whoever sent it.").waitFor();
    await inspect(page, "job-failed");
    await page.getByRole("button", { name: "Fix number & resend" }).click();
    const dialog = page.getByRole("dialog", { name: "Fix number and resend" });
    await dialog.getByText("That is the number it failed at.").waitFor();
    await dialog.getByLabel("Fax number").fill("12");
    await dialog.getByRole("button", { name: /^Resend/ }).click();
    await dialog.getByLabel("Fax number").and(page.locator("[aria-invalid=true]")).waitFor();
    await dialog.getByLabel("Fax number").fill("+1 500 555 0000");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "The page was delivered." }).waitFor();
    await page.getByRole("link", { name: "an earlier fax" }).waitFor();
    assert.deepEqual(page.complaints.filter((complaint) => !complaint.includes("400")), []);
  });

  test("that another machine answered than the last time is told beside the fax", async () => {
    const key = office.demo.test_key;
    await office.fax("+15005550010", "The first.", { key });
    const second = await office.fax("+15005550010", "The second.", { key });
    const page = await office.signIn(`/jobs/${second.id}`);
    await page.getByText("Check the number", { exact: false }).first().waitFor();
    await page.getByRole("heading", { name: "The page was delivered." }).waitFor();
    await inspect(page, "job-other-station");
    assert.deepEqual(page.complaints, []);
  });

  test("a call that breaks is drawn, and goes on where it was", async () => {
    const page = await office.signIn("/send");
    await send(page, "+15005550005", text("broken.txt", 3));
    await page.getByRole("heading", { name: "The other machine hung up during page 2." }).waitFor();
    await page.getByText(/^We call again at .*, from page 2 on\.$/).waitFor();
    await page.getByRole("button", { name: "Page 1, confirmed" }).waitFor();
    await page.getByRole("button", { name: "Page 2, not confirmed" }).waitFor();
    const signals = page.getByRole("list", { name: "Signals of the call" });
    await signals.getByText("They: BYE, hangs up").waitFor({ state: "attached" });
    await inspect(page, "job-waiting");
    await page.getByRole("button", { name: "Try now" }).click();
    await page.getByRole("heading", { name: "All 3 pages were delivered." }).waitFor();
    await page.getByText("Call 2 begins, with page 2").waitFor();
    await page.getByRole("button", { name: "Show the signals of call 1" }).click();
    await page.getByRole("heading", { name: "Call 1, signal by signal" }).waitFor();
    await signals.getByText("They: BYE, hangs up").waitFor({ state: "attached" });
    await inspect(page, "job-resumed");
  });

  test("it is held, changed, released and cancelled", async () => {
    const fax = await office.fax("+15005550000", "Held.", { key: office.demo.api_key, schedule_at: "2040-01-01T00:00:00Z" });
    const page = await office.signIn(`/jobs/${fax.id}`);
    await page.getByRole("button", { name: "Hold" }).click();
    await page.getByRole("heading", { name: "It is held." }).waitFor();
    await page.getByRole("button", { name: "Change", exact: true }).click();
    const drawer = page.getByRole("dialog", { name: "Change this fax" });
    await drawer.getByLabel("Your reference").fill("chart 12");
    await drawer.getByLabel("Urgency").selectOption("high");
    await inspect(page, "job-change");
    await drawer.getByRole("button", { name: "Change", exact: true }).click();
    await page.getByText("chart 12").first().waitFor();
    await page.getByRole("button", { name: "Release" }).click();
    await page.getByRole("heading", { name: "It waits for its time." }).waitFor();
    await page.getByRole("button", { name: "Cancel fax" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Cancel fax" }).click();
    await page.getByText("cancelled", { exact: true }).waitFor();
    assert.deepEqual(page.complaints, []);
  });

  test("on paper it is a transmission report", async () => {
    const page = await office.signIn("/send");
    await send(page, "+15005550000", text("paper.txt"));
    await page.getByRole("heading", { name: "The page was delivered." }).waitFor();
    await page.emulateMedia({ media: "print" });
    await page.getByText("Transmission report").waitFor();
    assert.equal(await page.getByRole("navigation", { name: "Main" }).isVisible(), false);
    assert.equal(await page.getByRole("button", { name: "Report" }).isVisible(), false);
    assert.equal(await page.locator("svg path.life").count().then(async (count) => count > 0 && (await page.locator("svg path.life").first().isVisible())), false);
    const paper = await page.pdf({ format: "A4" });
    assert.ok(paper.length > 5000);
    await page.setViewportSize({ width: 794, height: 1123 });
    await page.screenshot({ path: new URL("../../target/test/screens/job-report.png", import.meta.url).pathname });
  });

  test("nothing is lost while the appliance is away, and nothing sent twice", async () => {
    const page = await office.signIn("/send");
    await page.getByLabel("Fax number", { exact: true }).fill("+15005550000");
    await page.locator("input[type=file]").setInputFiles([text("away.txt")]);
    await page.getByText("1 page · about").waitFor();
    await page.context().setOffline(true);
    await page.getByRole("button", { name: /^Send to/ }).click();
    await page.getByText("The appliance does not answer. Nothing was changed").waitFor();
    assert.equal(await page.getByLabel("Fax number", { exact: true }).inputValue(), "+15005550000");
    await page.context().setOffline(false);
    await page.getByText("What you see may be old").waitFor({ state: "hidden" });
    await page.getByRole("button", { name: /^Send to/ }).click();
    await page.getByRole("heading", { name: "The page was delivered." }).waitFor();
  });

  test("by keyboard alone, on a telephone", async () => {
    const page = await office.signIn("/send");
    await page.setViewportSize(PHONE);
    // Said early: the browser takes a moment until it hands the choice over.
    const chosen = page.waitForEvent("filechooser");
    await page.locator("main h1").focus();
    await page.keyboard.press("Tab");
    await page.keyboard.type("+15005550000");
    // Behind the number: one more number, then the document.
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await (await chosen).setFiles([text("keys.txt")]);
    await page.getByText("1 page · about").waitFor();
    await page.getByLabel("Fax number", { exact: true }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "The page was delivered." }).waitFor();
    assert.deepEqual(page.complaints, []);
  });
});
