// Looking after the appliance: diagnostics, settings, the audit log.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { missing } from "./appliance.js";
import { assertNotKept, inspect, startOffice } from "./console.js";

describe("looking after it", { skip: missing }, () => {
  let office;

  before(async () => {
    office = await startOffice();
  });

  after(() => office?.stop());

  /** A request with this key. */
  const knock = (key) => fetch(`${office.url}/inbound`, { headers: { "x-api-key": key } });

  test("API Auth tells of a wrong key, why, and what to do, as it happens", async () => {
    const page = await office.signIn("/diagnostics/api-auth");
    await page.getByRole("heading", { name: "Let in" }).waitFor();
    const key = office.demo.api_key;
    assert.equal((await knock(key.slice(0, -1) + (key.endsWith("x") ? "y" : "x"))).status, 401);
    const refused = page.getByRole("listitem").filter({ hasText: "The key is mistyped or cut off." });
    await refused.getByText("mistyped key").waitFor();
    assert.equal((await knock("not-a-key")).status, 401);
    await page.getByText("What the program sends is not a key of this appliance.").waitFor();
    await inspect(page, "diagnostics-api-auth");
    await page.getByLabel("What came of it").selectOption("ok");
    await page.waitForURL(/outcome=ok/);
    await refused.waitFor({ state: "hidden" });
    await page.getByLabel("What came of it").selectOption("refused");
    await refused.waitFor();
    await page.getByLabel("Address").fill("10.1.2.3");
    await page.getByRole("heading", { name: "No request is like that" }).waitFor();
    await page.getByRole("button", { name: "Show all" }).first().click();
    await refused.waitFor();
    assert.deepEqual(page.complaints, []);
  });

  test("a setting is changed, is in force, and the audit log says who did it", async () => {
    const page = await office.signIn("/settings/security");
    const field = page.getByLabel("Requests of one key in a minute");
    await field.waitFor();
    await inspect(page, "settings-security");
    await field.fill("many");
    await page.getByText(/It takes a number from 0/).waitFor();
    assert.ok(await page.getByRole("button", { name: "Save", exact: true }).isDisabled());
    await field.fill("3");
    await page.getByText("One change not saved yet").waitFor();
    await page.getByRole("button", { name: "Save", exact: true }).click();
    await page.getByText("Saved, and in force.").waitFor();
    const answers = [];
    for (let tries = 0; tries < 5; tries++) answers.push((await knock(office.demo.api_key)).status);
    assert.ok(answers.includes(429), `the ceiling holds: ${answers}`);
    await page.getByRole("button", { name: /^Back to/ }).click();
    await page.getByRole("button", { name: /^Back to/ }).waitFor({ state: "hidden" });
    assert.equal((await knock(office.demo.api_key)).status, 200);

    await page.goto("/console/audit");
    const row = page.getByRole("row").filter({ hasText: "demo changed settings" });
    await row.first().waitFor();
    await page.getByText("The log is whole.").waitFor();
    await inspect(page, "audit");
    await row.last().getByRole("link").click();
    const drawer = page.getByRole("dialog");
    await drawer.getByText("security.max_requests_per_minute").first().waitFor();
    await drawer.locator("ins").filter({ hasText: "3" }).first().waitFor();
    await inspect(page, "audit-row");
    await page.keyboard.press("Escape");
    await page.getByLabel("What", { exact: true }).selectOption("settings.changed");
    await page.waitForURL(/action=settings/);
    await page.getByRole("link", { name: "demo signed in" }).first().waitFor({ state: "hidden" });
    assert.equal(await row.count(), 2);
    assert.deepEqual(page.complaints, []);
    const file = await page.request.get(await page.getByRole("link", { name: "Export" }).getAttribute("href"));
    assert.match(await file.text(), /settings\.changed/);
  });

  test("each page of the settings shows what there is", async () => {
    const page = await office.signIn("/settings");
    await page.getByLabel("Longest fax").waitFor();
    await inspect(page, "settings-general");
    await page.goto("/console/settings/line");
    await page.getByText(/Set by the command line|Set by/).first().waitFor();
    await inspect(page, "settings-line");
    await page.goto("/console/settings/retention");
    await page.getByLabel("Keep sent faxes").waitFor();
    await page.goto("/console/settings/reach");
    await page.getByLabel("People and other machines").fill("127.0.0.1:0");
    await page.getByRole("button", { name: "Save", exact: true }).click();
    await page.getByText(/Saved/).first().waitFor();
    await inspect(page, "settings-reach");
  });

  test("each line says how it stands, as it changes, and one that is out is put back", async () => {
    const page = await office.signIn("/diagnostics");
    await page.getByRole("tab", { name: "Lines & routes" }).click();
    const line = page.getByRole("listitem").filter({ has: page.getByRole("heading", { name: "loopback", exact: true }) });
    await line.getByText("in service", { exact: true }).waitFor();
    await line.getByText("all faxes", { exact: true }).waitFor();
    await inspect(page, "diagnostics-routes");
    // Some day that is not today in any time zone.
    const day = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"][(new Date().getUTCDay() + 3) % 7];
    await office.local("PUT", "/admin/settings", { "line.hours": `loopback=${day}` });
    await line.getByText(/^outside its hours until /).waitFor();
    await office.local("PUT", "/admin/settings", { "line.hours": null });
    await line.getByText("in service", { exact: true }).waitFor();

    // Lines of this appliance cost nothing and are never taken out: what is said of one that is.
    const shown = await page.request.get("/admin/routes").then((answer) => answer.json());
    const [first] = shown.routes;
    const at = (minutes) => new Date(Date.now() + minutes * 60_000).toISOString();
    const out = { ...first, state: "out_of_service", failures: 5, last_failure: "The provider is out of service.", last_failure_at: at(-3), out_since: at(-3), next_probe_at: at(4) };
    let restored = "";
    await page.route(/\/admin\/routes/, (route, request) => {
      if (request.method() === "POST") restored = new URL(request.url()).pathname;
      return route.fulfill({ json: { routes: [restored ? first : out] } });
    });
    await page.reload();
    await line.getByText(/^out of service since /).waitFor();
    await line.getByText(/Next try in \d minutes/).waitFor();
    await line.getByText("The provider is out of service.").waitFor();
    await inspect(page, "diagnostics-routes-out");
    await line.getByRole("button", { name: /^Put back into service/ }).click();
    await page.getByText("loopback is in service again.").waitFor();
    await line.getByText("in service", { exact: true }).waitFor();
    assert.equal(restored, "/admin/routes/loopback/restore");
    assert.deepEqual(page.complaints, []);
  });

  test("numbers are blocked and ranges opened, with a reason", async () => {
    const page = await office.signIn("/settings/numbers");
    const abroad = page.getByRole("listitem").filter({ hasText: "Numbers abroad" });
    await abroad.getByRole("button", { name: "Open…" }).click();
    const dialog = page.getByRole("dialog", { name: "Open numbers abroad?" });
    await dialog.getByRole("button", { name: "Open them" }).click();
    await dialog.getByText("Say why, in one sentence.").waitFor();
    await dialog.getByLabel("Why").fill("A branch in Paris");
    await dialog.getByRole("button", { name: "Open them" }).click();
    await abroad.getByText("“A branch in Paris”").waitFor();
    await page.getByRole("button", { name: "Add" }).click();
    const drawer = page.getByRole("dialog", { name: "Numbers that begin so" });
    await drawer.getByLabel("Beginning").fill("+1 555 010 0999");
    await drawer.getByLabel("Why").fill("Mistaken before");
    await drawer.getByRole("button", { name: "Save" }).click();
    await page.getByText("+1 555 010 0999…").waitFor();
    await inspect(page, "settings-numbers");
    const refused = await fetch(`${office.url}/fax`, {
      method: "POST",
      headers: { "x-api-key": office.demo.api_key },
      body: (() => {
        const form = new FormData();
        form.append("to", "+15550100999");
        form.append("file", new Blob(["A page."], { type: "text/plain" }), "page.txt");
        return form;
      })(),
    });
    assert.equal(refused.status, 403);
    await page.getByRole("button", { name: "Forget 15550100999" }).or(page.getByRole("button", { name: "Forget +15550100999" })).click();
    await page.getByText("+1 555 010 0999…").waitFor({ state: "hidden" });
    assert.deepEqual(page.complaints, []);
  });

  test("a webhook is made, its secret shown once, and tested", async () => {
    const page = await office.signIn("/settings/webhooks");
    await page.getByRole("heading", { name: "Nobody is told yet" }).waitFor();
    await page.getByRole("button", { name: "New webhook" }).click();
    const drawer = page.getByRole("dialog", { name: "New webhook" });
    await drawer.getByLabel("What it is for").fill("Practice software");
    await drawer.getByLabel("Address").fill("https://receiver.example/fax");
    await drawer.getByLabel("Received faxes").check();
    assert.equal(await drawer.getByLabel("Events").inputValue(), "inbound.*");
    await inspect(page, "settings-webhook-new");
    await drawer.getByRole("button", { name: "Make the webhook" }).click();
    const shown = page.getByRole("dialog", { name: "The secret of this webhook" });
    const refused = drawer.getByText(/192\.0\.2\.1|address|network/i).last();
    await shown.or(refused).first().waitFor();
    const secret = (await shown.getByRole("region", { name: "secret" }).textContent()).trim();
    assert.match(secret, /^whsec_/);
    await shown.getByLabel("I saved it").check();
    await shown.getByRole("button", { name: "Done" }).click();
    await page.getByText("Practice software").waitFor();
    await assertNotKept(page, secret);
    await page.getByRole("button", { name: "Open", exact: true }).click();
    await page.getByText("Nothing was told yet.").waitFor();
    await inspect(page, "settings-webhook");
    await page.getByRole("button", { name: "Remove…" }).click();
    await page.getByRole("button", { name: "Remove it" }).click();
    await page.getByRole("heading", { name: "Nobody is told yet" }).waitFor();
    assert.deepEqual(page.complaints, []);
  });

  test("all checks are run, the log is searched, everything is accounted for", async () => {
    const page = await office.signIn("/diagnostics");
    await page.getByRole("heading", { name: "Database" }).waitFor();
    await page.getByText(/Everything works|to look at/).waitFor();
    await inspect(page, "diagnostics-checks");
    await page.getByRole("tab", { name: "Logs" }).click();
    await page.getByRole("searchbox").waitFor();
    await inspect(page, "diagnostics-logs");
    await page.getByRole("tab", { name: "Storage" }).click();
    await page.getByRole("button", { name: "Account now" }).click();
    await page.getByText("all fits together.").first().waitFor();
    await inspect(page, "diagnostics-storage");
    assert.deepEqual(page.complaints, []);
  });

  test("a viewer sees the checks, and nothing that is not theirs", async () => {
    const viewer = await office.person("Vera", "viewer");
    const page = await office.signIn("/diagnostics/logs", { as: viewer });
    await page.getByRole("tab", { name: "API Auth" }).waitFor();
    assert.equal(await page.getByRole("tab", { name: "Logs" }).count(), 0);
    for (const path of ["/settings", "/audit", "/inbox"]) {
      await page.goto(`/console${path}`);
      await page.getByRole("heading", { name: "Not for you" }).waitFor();
    }
    assert.deepEqual(page.complaints, []);
  });
});
