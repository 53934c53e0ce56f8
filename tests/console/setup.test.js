// From the printed link to a fax that was sent and received, as the person does it who unpacks the appliance.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { missing, openPage, startBrowser, startServe } from "./appliance.js";
import { assertNotKept, DESK, inspect, PASSWORD, startOffice } from "./console.js";

/** An appliance that nobody has set up, and the link that it prints. */
async function startNew() {
  const served = await startServe();
  return { ...served, link: (await served.said(/\/setup#token=/)).trim() };
}

describe("set-up", { skip: missing }, () => {
  let browser;

  before(async () => {
    browser = await startBrowser();
  });

  after(() => browser?.close());

  test("the whole wizard, from the printed link to a fax in the inbox", async () => {
    const fresh = await startNew();
    try {
      const page = await openPage(browser, fresh.url, { viewport: DESK });
      const token = fresh.link.split("#token=")[1];

      // Without the link there is nothing to choose.
      await page.goto("/console/setup");
      await page.getByRole("heading", { name: "Open the link that the appliance printed" }).waitFor();
      await inspect(page, "setup-no-link");

      await page.goto(fresh.link);
      const name = page.getByLabel("User name");
      await name.waitFor();
      assert.ok(!page.url().includes(token), "the token left the address at once");
      await assertNotKept(page, token);
      await page.getByRole("button", { name: "Make the administrator" }).click();
      await page.getByText("Choose a name to sign in with.").waitFor();
      await inspect(page, "setup-administrator");
      await name.fill("anna");
      await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
      await page.getByLabel("The same again").fill("something else");
      await page.getByRole("button", { name: "Make the administrator" }).click();
      await page.getByText("The two passwords are different.").waitFor();
      await page.getByLabel("The same again").fill(PASSWORD);
      await page.keyboard.press("Enter");

      await page.getByRole("heading", { name: "Recovery key" }).waitFor();
      await assertNotKept(page, PASSWORD);
      await inspect(page, "setup-recovery");
      await page.getByRole("button", { name: "Make the recovery key" }).click();
      const groups = page.getByRole("list", { name: "Recovery key" }).getByRole("listitem");
      await groups.first().waitFor();
      const group = (await groups.first().textContent()).trim();
      assert.equal(await groups.count(), 14);
      assert.ok(await page.getByRole("button", { name: "Go on" }).isDisabled(), "not before it is written down");
      await page.getByLabel("I wrote it down").check();
      await inspect(page, "setup-recovery-key");
      await page.getByRole("button", { name: "Go on" }).click();

      await page.getByRole("heading", { name: "Your office" }).waitFor();
      await assertNotKept(page, group);
      await page.getByLabel("Own fax number").fill("abc");
      await page.getByText("Only digits, spaces and +.").waitFor();
      await page.getByLabel("Own fax number").fill("+1 555 010 0123");
      await page.getByLabel("Name on top of each page").fill("Practice of Dr. Adams");
      await inspect(page, "setup-office");
      await page.getByRole("button", { name: "Save and go on" }).click();

      await page.getByRole("heading", { name: "The line", exact: true }).waitFor();
      await page.getByLabel("Into the own inbox").check();
      await inspect(page, "setup-line");
      await page.getByRole("button", { name: "Save and go on" }).click();

      await page.getByRole("heading", { name: "Who may reach it" }).waitFor();
      await inspect(page, "setup-reach");
      await page.getByRole("button", { name: "Skip for now" }).click();

      await page.getByRole("heading", { name: "First key" }).waitFor();
      await page.getByRole("button", { name: "Make the key" }).click();
      const shown = page.getByRole("region", { name: "key" });
      await shown.waitFor();
      const key = (await shown.textContent()).trim();
      assert.match(key, /^fbk_live_/);
      await inspect(page, "setup-key");
      await page.getByLabel("I saved it").check();
      await page.getByRole("button", { name: "Go on" }).click();

      await page.getByRole("heading", { name: "First test fax" }).waitFor();
      await assertNotKept(page, key);
      assert.equal(await page.getByLabel("To").inputValue(), "+15550100123");
      await page.getByRole("button", { name: "Send the test fax" }).click();
      await page.getByText("Received in the inbox").waitFor();
      await page.getByRole("img", { name: "The page as it was received" }).waitFor();
      await inspect(page, "setup-test");
      await page.getByRole("button", { name: "Go on" }).click();

      await page.getByRole("heading", { name: "The appliance is ready" }).waitFor();
      await inspect(page, "setup-done");
      await page.getByRole("button", { name: "Open the console" }).click();
      await page.getByRole("navigation", { name: "Main" }).waitFor();
      // What was skipped is found again; what was entered is kept; the key works.
      await page.goto("/console/setup?step=reach");
      await page.getByRole("heading", { name: "Who may reach it" }).waitFor();
      await page.goto("/console/setup?step=office");
      await page.getByLabel("Own fax number").waitFor();
      assert.equal(await page.getByLabel("Own fax number").inputValue(), "+1 555 010 0123");
      const list = await fetch(`${fresh.url}/inbound`, { headers: { "x-api-key": key } });
      assert.equal((await list.json()).length, 1);
      assert.deepEqual(page.complaints, []);

      // The link worked once.
      const other = await openPage(browser, fresh.url, { viewport: DESK });
      await other.goto(fresh.link);
      await other.getByLabel("Password", { exact: true }).fill(PASSWORD);
      await other.getByLabel("The same again").fill(PASSWORD);
      await other.getByRole("button", { name: "Use this password" }).click();
      assert.match(await other.getByRole("alert").textContent(), /link/i);
    } finally {
      await fresh.stop();
    }
  });

  test("somebody who was invited chooses a password and is in", async () => {
    const office = await startOffice();
    try {
      const user = await office.local("POST", "/admin/users", { name: "Vera", role: "operator" });
      const token = user.link.url.split("#token=")[1];
      const page = await office.open();
      await page.goto(`/setup#token=${token}`);
      await page.getByRole("heading", { name: "Choose a password" }).waitFor();
      assert.ok(!page.url().includes(token));
      await inspect(page, "setup-invited");
      await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
      await page.getByLabel("The same again").fill(PASSWORD);
      await page.keyboard.press("Enter");
      await page.getByRole("navigation", { name: "Main" }).waitFor();
      await page.goto("/console/setup");
      await page.getByRole("heading", { name: "Not for you" }).waitFor();
      assert.deepEqual(page.complaints, []);
    } finally {
      await office.stop();
    }
  });
});
