// API keys: made, tested, rotated, switched off, revoked and deleted; what each of the systems that
// people come from promises.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { missing } from "./appliance.js";
import { assertNotKept, inspect, PASSWORD, startOffice } from "./console.js";

const TOKEN = /fbk_(live|test)_[0-9a-f]{12}_[0-9A-Za-z]{49}/;

describe("API keys", { skip: missing }, () => {
  let office;

  before(async () => {
    office = await startOffice();
  });

  after(() => office?.stop());

  /** What the appliance says to a program with this token. */
  async function tried(token, path = "/v1/key") {
    const answer = await fetch(office.url + path, { headers: { "x-api-key": token } });
    return answer.status;
  }

  /** The complaints but those of answers that were meant. */
  function unexpected(page, ...statuses) {
    return page.complaints.filter((text) => !statuses.some((status) => text.startsWith(`${status}: `) || text.includes(`status of ${status}`)));
  }

  async function openCreate(page) {
    await page.getByRole("button", { name: "Create a key" }).first().click();
    const drawer = page.getByRole("dialog", { name: "Create a key" });
    await drawer.waitFor();
    return drawer;
  }

  /** Creates a key with the drawer as it is, saves the token, and answers it. */
  async function finish(page, drawer, look = async () => {}) {
    await drawer.getByRole("button", { name: "Create and show once" }).click();
    const once = page.getByRole("dialog", { name: /is made$/ });
    await once.waitFor();
    const token = (await once.getByRole("region", { name: "token" }).textContent()).trim();
    assert.match(token, TOKEN);
    await look(once, token);
    const done = once.getByRole("button", { name: "Done" });
    assert.ok(await done.isDisabled(), "it can be closed before it was saved");
    await page.keyboard.press("Escape");
    assert.ok(await once.isVisible(), "Escape lost the token");
    await once.getByLabel("I saved it").check();
    await done.click();
    await once.waitFor({ state: "hidden" });
    await assertNotKept(page, token);
    return token;
  }

  async function openKey(page, name) {
    await page.getByRole("link", { name: new RegExp(`^${name}`) }).click();
    await page.getByRole("heading", { name, level: 1 }).waitFor();
  }

  /** The two first steps of a rotation; answers the new token. */
  async function rotate(page, grace) {
    await page.getByRole("button", { name: "Rotate" }).click();
    const dialog = page.getByRole("dialog", { name: /new secret/ });
    await dialog.waitFor();
    const select = dialog.getByLabel("How long the old secret goes on working");
    assert.equal(await select.inputValue(), "86400");
    if (grace !== undefined) await select.selectOption(grace);
    await dialog.getByRole("button", { name: "Create the new secret" }).click();
    const token = (await dialog.getByRole("region", { name: "token" }).textContent()).trim();
    assert.match(token, TOKEN);
    await dialog.getByLabel("I saved it").check();
    await dialog.getByRole("button", { name: /Done|Go on to verify/ }).click();
    await dialog.waitFor({ state: "hidden" });
    await assertNotKept(page, token);
    return token;
  }

  test("as with Faxbot: scopes, the token once, a test, rotated, revoked", async () => {
    const page = await office.signIn("/keys");
    const drawer = await openCreate(page);
    await drawer.getByLabel("Name", { exact: true }).fill("EHR integration");
    await drawer.getByRole("button", { name: "Send", exact: true }).click();
    await drawer.getByLabel("Only from these addresses").fill("127.0.0.0/8");
    await drawer.getByLabel("Only to numbers beginning with").fill("+1 555");
    await drawer.getByText("90 days").click();
    await drawer.getByText(/Can\s+send faxes, read its own faxes and cancel faxes, to numbers beginning with \+1555, from 127/).waitFor();
    await inspect(page, "keys-create");

    let sent;
    const token = await finish(page, drawer, async (once, shown) => {
      sent = page.waitForRequest((request) => request.url().endsWith("/v1/key"));
      await once.getByRole("button", { name: "Test this key" }).click();
      const request = await sent;
      assert.equal(request.headers()["x-api-key"], shown);
      assert.equal((await request.allHeaders()).cookie, undefined, "the session went with the test");
      await once.getByText("it works").waitFor();
      await inspect(page, "keys-once");
    });
    assert.equal(await tried(token), 200);
    const row = page.getByRole("row").filter({ hasText: "EHR integration" });
    await row.getByText("send to +1555, read").waitFor();

    await openKey(page, "EHR integration");
    const second = await rotate(page, "0");
    assert.equal(await tried(token), 401);
    assert.equal(await tried(second), 200);

    await page.getByRole("button", { name: "Revoke…" }).click();
    const dialog = page.getByRole("dialog", { name: /^Revoke/ });
    await dialog.getByText("None of its faxes waits").waitFor();
    await inspect(page, "keys-revoke");
    await dialog.getByRole("button", { name: "Revoke for good" }).click();
    await page.getByText("It never works again").waitFor();
    assert.equal(await tried(second), 401);
    assert.deepEqual(page.complaints, []);
  });

  test("as with Fabraix: four kinds, a guided rotation, deleting asks first", async () => {
    const page = await office.signIn("/keys");
    for (const [kind, hint] of [
      ["Production", /Sends for real/],
      ["Restricted", /Only from some addresses/],
      ["Development", /go to the simulator/],
      ["Admin", /for 90 days at most/],
    ]) {
      const drawer = await openCreate(page);
      await drawer.getByLabel("Name", { exact: true }).fill(`${kind} program`);
      await drawer.getByText(kind, { exact: true }).click();
      await drawer.getByText(hint).first().waitFor();
      const token = await finish(page, drawer);
      assert.equal(token.startsWith(kind === "Development" ? "fbk_test_" : "fbk_live_"), true);
      await page.getByRole("row").filter({ hasText: `${kind} program` }).getByText(kind.toLowerCase(), { exact: true }).waitFor();
    }
    await inspect(page, "keys");

    await openKey(page, "Restricted program");
    const next = await rotate(page);
    const guide = page.getByRole("region", { name: "A new secret is being put in place" });
    await guide.waitFor();
    assert.equal(await guide.locator("[aria-current=step]").textContent(), "3Verify");
    await inspect(page, "key-rotating");
    assert.equal(await tried(next), 200);
    await guide.getByText("in use").waitFor();
    await page.getByText("New secret; the old one in its grace").waitFor();
    assert.equal(await guide.locator("[aria-current=step]").textContent(), "4Revoke the old");
    await guide.getByRole("button", { name: "Revoke the old secret now" }).click();
    await page.getByText("The old secret has ended.").waitFor();
    await guide.waitFor({ state: "detached" });
    await page.getByText("The old secret was ended").waitFor();

    await page.getByRole("button", { name: "Delete…" }).click();
    const dialog = page.getByRole("dialog", { name: /^Delete/ });
    await dialog.getByRole("button", { name: "Keep it" }).click();
    assert.equal(await tried(next), 200);
    await page.getByRole("button", { name: "Delete…" }).click();
    await dialog.getByLabel("Why").selectOption("replaced");
    await dialog.getByRole("button", { name: "Delete the key" }).click();
    await page.waitForURL("**/console/keys");
    await page.getByText("The key was deleted.").waitFor();
    await page.getByRole("row").filter({ hasText: "Production program" }).waitFor();
    assert.equal(await page.getByRole("row").filter({ hasText: "Restricted program" }).count(), 0);
    assert.equal(await tried(next), 401);
    assert.deepEqual(page.complaints, []);
  });

  test("rotated with a grace, both work; then off, on and the end", async () => {
    const page = await office.signIn("/keys?create=key");
    const drawer = page.getByRole("dialog", { name: "Create a key" });
    await drawer.getByLabel("Name", { exact: true }).fill("Front desk");
    const first = await finish(page, drawer);
    await openKey(page, "Front desk");
    const second = await rotate(page);
    assert.deepEqual([await tried(first), await tried(second)], [200, 200]);

    await page.getByRole("button", { name: "Switch off" }).click();
    await page.getByText("switched off", { exact: true }).waitFor();
    assert.deepEqual([await tried(first), await tried(second)], [401, 401]);
    await page.getByRole("button", { name: "Switch on again" }).click();
    await page.getByText("works", { exact: true }).waitFor();
    assert.deepEqual([await tried(first), await tried(second)], [200, 200]);

    await page.getByRole("button", { name: "Revoke…" }).click();
    const dialog = page.getByRole("dialog", { name: /^Revoke/ });
    await dialog.getByLabel("Why").selectOption("compromised");
    await dialog.getByRole("button", { name: "Revoke for good" }).click();
    await page.getByText("because: compromised").waitFor();
    assert.deepEqual([await tried(first), await tried(second)], [401, 401]);
    await inspect(page, "key-revoked");
    await page.getByRole("link", { name: "← API Keys" }).click();
    await page.getByRole("tab", { name: /Ended/ }).click();
    await page.getByRole("row").filter({ hasText: "Front desk" }).waitFor();
    assert.deepEqual(page.complaints, []);
  });

  test("its waiting faxes are held when somebody else may have it", async () => {
    const page = await office.signIn("/keys?create=key");
    const drawer = page.getByRole("dialog", { name: "Create a key" });
    await drawer.getByLabel("Name", { exact: true }).fill("Leaked");
    const token = await finish(page, drawer);
    await office.fax("+15550100077", "Later.", { key: token, schedule_at: new Date(Date.now() + 3600_000).toISOString() });
    await openKey(page, "Leaked");
    await page.getByRole("button", { name: "Revoke…" }).click();
    const dialog = page.getByRole("dialog", { name: /^Revoke/ });
    await dialog.getByLabel("Why").selectOption("compromised");
    assert.ok(await dialog.getByLabel(/Hold its/).isChecked());
    await dialog.getByRole("button", { name: "Revoke for good" }).click();
    await page.getByText("1 of its faxes is held").waitFor();
    assert.deepEqual(page.complaints, []);
  });

  test("a key is seen whole: what it may, its use, its history", async () => {
    const page = await office.signIn("/keys?create=key");
    const drawer = page.getByRole("dialog", { name: "Create a key" });
    await drawer.getByLabel("Name", { exact: true }).fill("Records");
    const token = await finish(page, drawer);
    for (let at = 0; at < 12; at++) await tried(token);
    await tried(token, "/admin/users");
    await openKey(page, "Records");
    await page.getByText(/times in all/).waitFor();
    await page.getByText("Made by").or(page.getByText("Made", { exact: true })).first().waitFor();
    await page.getByRole("tab", { name: "Python" }).click();
    const example = await page.getByRole("region", { name: "Python example" }).textContent();
    assert.match(example, /os\.environ\["API_KEY"\]/);
    await inspect(page, "key");

    await page.getByRole("button", { name: "Test this key…" }).click();
    const dialog = page.getByRole("dialog", { name: "Test this key" });
    await dialog.getByLabel("Token to test").fill(`${token.slice(0, -1)}!`);
    await dialog.getByRole("button", { name: "Test this key" }).click();
    await dialog.getByRole("alert").waitFor();
    await dialog.getByLabel("Token to test").fill(token);
    await dialog.getByRole("button", { name: "Test this key" }).click();
    await dialog.getByText("it works").waitFor();
    await page.keyboard.press("Escape");
    await assertNotKept(page, token);
    assert.deepEqual(unexpected(page, 401), []);
  });

  test("it is changed within the drawer, and the server's word stands beside the field", async () => {
    const page = await office.signIn("/keys?create=key");
    const drawer = page.getByRole("dialog", { name: "Create a key" });
    await drawer.getByRole("button", { name: "Create and show once" }).click();
    await drawer.getByText("Give it a name that tells what it is for.").waitFor();
    await drawer.getByLabel("Name", { exact: true }).fill("Scanner");
    await drawer.getByLabel("Only from these addresses").fill("192.168.1.0/99");
    await drawer.getByRole("button", { name: "Create and show once" }).click();
    await drawer.getByText(/'ip_allow':/).waitFor();
    await drawer.getByLabel("Only from these addresses").fill("");
    const token = await finish(page, drawer);
    await openKey(page, "Scanner");
    await page.getByRole("button", { name: "Change", exact: true }).click();
    const change = page.getByRole("dialog", { name: "Change the key" });
    await change.getByLabel("Name", { exact: true }).fill("Scanner, ground floor");
    await change.getByText("Limits and more").click();
    await change.getByLabel("Requests a minute").fill("7");
    await inspect(page, "key-change", { complaints: page.complaints });
    await change.getByRole("button", { name: "Save" }).click();
    await page.getByRole("heading", { name: "Scanner, ground floor" }).waitFor();
    await page.getByText(/^7 requests a minute/).waitFor();
    await page.getByText("Changed: name, limits").waitFor();
    const own = await (await fetch(`${office.url}/v1/key`, { headers: { "x-api-key": token } })).json();
    assert.deepEqual([own.name, own.limits.per_minute, own.limits.per_hour], ["Scanner, ground floor", 7, 10000]);
    assert.deepEqual(unexpected(page, 422), []);
  });

  test("a recoverable key is shown again for half a minute, with the password", async () => {
    const page = await office.signIn("/keys?create=key");
    const drawer = page.getByRole("dialog", { name: "Create a key" });
    await drawer.getByLabel("Name", { exact: true }).fill("Kept");
    await drawer.getByText("Limits and more").click();
    await drawer.getByLabel("Its token can be shown again").check();
    const token = await finish(page, drawer);
    await openKey(page, "Kept");
    await page.clock.install();
    await page.getByRole("button", { name: "Show token" }).click();
    const dialog = page.getByRole("dialog", { name: /token of/ });
    assert.equal((await dialog.getByRole("region", { name: "token" }).textContent()).trim(), token);
    await page.clock.runFor(31_000);
    await dialog.waitFor({ state: "hidden" });
    await assertNotKept(page, token);
    assert.deepEqual(page.complaints, []);
  });

  test("as with FonProxy: an operator has keys of their own, with their end and last access", async () => {
    const operator = await office.person("Olga", "operator");
    const page = await office.signIn("/keys", { as: operator });
    await page.getByRole("heading", { name: "No keys yet" }).waitFor();
    await inspect(page, "keys-empty");
    const drawer = await openCreate(page);
    assert.equal(await drawer.getByText("Admin", { exact: true }).count(), 0);
    assert.equal(await drawer.getByLabel("Belongs to").count(), 0);
    await drawer.getByLabel("Name", { exact: true }).fill("My scanner");
    await drawer.getByText("30 days").click();
    const token = await finish(page, drawer);
    assert.equal(await tried(token), 200);
    const row = page.getByRole("row").filter({ hasText: "My scanner" });
    await row.getByText("in 30 days").waitFor();
    assert.equal(await page.getByRole("row").count(), 2, "an operator sees other keys");
    const listed = await page.evaluate(() => fetch("/api-keys").then((answer) => answer.json()));
    assert.deepEqual(listed.apiKeys.map((key) => key.name), ["My scanner"]);
    await openKey(page, "My scanner");
    await page.getByText(/1\s+time in all/).waitFor();
    await page.getByRole("button", { name: "Delete…" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete the key" }).click();
    await page.getByRole("heading", { name: "No keys yet" }).waitFor();
    assert.equal(await tried(token), 401);
    assert.deepEqual(page.complaints, []);
  });

  test("an ended session keeps what was typed", async () => {
    const page = await office.signIn("/keys?create=key");
    const drawer = page.getByRole("dialog", { name: "Create a key" });
    await drawer.getByLabel("Name", { exact: true }).fill("Typed with care");
    await page.context().clearCookies();
    // By itself the page may notice first, and its question lies over the button.
    await drawer.locator("form").evaluate((form) => form.requestSubmit());
    const ask = page.getByRole("dialog", { name: "Your session has ended" });
    await ask.getByLabel("Password").fill(PASSWORD);
    await ask.getByRole("button", { name: "Sign in", exact: true }).click();
    const once = page.getByRole("dialog", { name: "The key “Typed with care” is made" });
    await once.getByLabel("I saved it").check();
    await once.getByRole("button", { name: "Done" }).click();
    await page.getByRole("row").filter({ hasText: "Typed with care" }).waitFor();
    assert.deepEqual(unexpected(page, 401), []);
  });

  test("what is done in one tab is seen in the other", async () => {
    const page = await office.signIn("/keys?create=key");
    const drawer = page.getByRole("dialog", { name: "Create a key" });
    await drawer.getByLabel("Name", { exact: true }).fill("Two tabs");
    await finish(page, drawer);
    const other = await page.context().newPage();
    await other.goto(`${office.url}/console/keys`);
    await other.getByRole("row").filter({ hasText: "Two tabs" }).waitFor();
    await openKey(page, "Two tabs");
    await page.getByRole("button", { name: "Switch off" }).click();
    await other.getByRole("row").filter({ hasText: "Two tabs" }).getByText("switched off").waitFor();
    await page.getByRole("button", { name: "Revoke…" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Revoke for good" }).click();
    await other.getByRole("row").filter({ hasText: "Two tabs" }).waitFor({ state: "hidden" });
    assert.deepEqual(page.complaints, []);
  });

  test("copying works where browsers hide the clipboard", async () => {
    const page = await office.signIn("/keys?create=key");
    await page.evaluate(() => Object.defineProperty(navigator, "clipboard", { value: undefined }));
    const drawer = page.getByRole("dialog", { name: "Create a key" });
    await drawer.getByLabel("Name", { exact: true }).fill("Plain HTTP");
    await finish(page, drawer, async (once, token) => {
      const copied = page.evaluate(() => new Promise((done) => addEventListener("copy", () => done(getSelection().toString() || document.activeElement.value), { once: true })));
      await once.getByRole("button", { name: "Copy token" }).click();
      assert.equal(await copied, token);
      await once.getByText("Copied").waitFor();
      const download = page.waitForEvent("download");
      await once.getByRole("button", { name: "Download .env" }).click();
      const file = await (await download).createReadStream();
      let text = "";
      for await (const piece of file) text += piece;
      assert.equal(text, `PAGEWIRE_URL=${office.url}\nAPI_KEY=${token}\n`);
    });
    assert.deepEqual(page.complaints, []);
  });

  test("by keyboard alone: made, tested, saved, revoked", async () => {
    const page = await office.signIn("/keys");
    await page.getByRole("heading", { name: "API Keys" }).waitFor();
    await page.keyboard.press("c");
    const drawer = page.getByRole("dialog", { name: "Create a key" });
    await drawer.waitFor();
    await tabTo(page, drawer.getByLabel("Name", { exact: true }));
    await page.keyboard.type("Without a mouse");
    await page.keyboard.press("Enter");
    const once = page.getByRole("dialog", { name: /is made$/ });
    await tabTo(page, once.getByRole("button", { name: "Test this key" }));
    await page.keyboard.press("Enter");
    await once.getByText("it works").waitFor();
    await tabTo(page, once.getByLabel("I saved it"));
    await page.keyboard.press("Space");
    await tabTo(page, once.getByRole("button", { name: "Done" }));
    await page.keyboard.press("Enter");
    await once.waitFor({ state: "hidden" });
    const link = page.getByRole("link", { name: /^Without a mouse/ });
    await link.waitFor();
    await tabTo(page, link);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Without a mouse" }).waitFor();
    await tabTo(page, page.getByRole("button", { name: "Revoke…" }));
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog", { name: /^Revoke/ });
    await tabTo(page, dialog.getByRole("button", { name: "Revoke for good" }));
    await page.keyboard.press("Enter");
    await page.getByText("It never works again").waitFor();
    assert.deepEqual(page.complaints, []);
  });

  async function tabTo(page, locator) {
    await locator.waitFor();
    for (let tries = 0; tries < 80; tries++) {
      if (await locator.evaluate((element) => element === document.activeElement)) return;
      await page.keyboard.press("Tab");
    }
    assert.fail(`the keyboard does not reach ${locator}`);
  }
});
