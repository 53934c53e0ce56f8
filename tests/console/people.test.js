// People: one's own account, the users and service accounts, the account key; by role.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, describe, test } from "node:test";

import { missing } from "./appliance.js";
import { assertNotKept, fillSignIn, inspect, PASSWORD, startOffice } from "./console.js";

const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** The code an authenticator app shows (RFC 6238). */
function code(secret, at = Date.now()) {
  let bits = "";
  for (const letter of secret.replace(/[\s=]/g, "")) bits += BASE32.indexOf(letter).toString(2).padStart(5, "0");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(at / 30_000)));
  const hash = createHmac("sha1", key).update(step).digest();
  const number = hash.readUInt32BE(hash[19] & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, "0");
}

describe("people", { skip: missing }, () => {
  let office;

  before(async () => {
    office = await startOffice();
  });

  after(() => office?.stop());

  async function works(token) {
    return (await fetch(`${office.url}/v1/key`, { headers: { "x-api-key": token } })).status === 200;
  }

  function unexpected(page, ...statuses) {
    return page.complaints.filter((text) => !statuses.some((status) => text.startsWith(`${status}: `) || text.includes(`status of ${status}`)));
  }

  test("as with etherFAX: the account key is generated, shown, copied and reset by who may", async () => {
    const page = await office.signIn("/settings/account");
    await page.getByText("Resetting can stop inbound and outbound faxing. Not every configuration needs this key.").waitFor();
    await page.getByRole("button", { name: "Generate" }).click();
    const shown = page.locator("code").filter({ hasText: /^fbk_live_/ });
    await page.getByRole("button", { name: "Hide" }).waitFor();
    const first = (await shown.textContent()).trim();
    assert.ok(await works(first));
    await page.getByRole("button", { name: "Hide" }).click();
    await assertNotKept(page, first);
    await inspect(page, "account-key");

    await page.clock.install();
    await page.getByRole("button", { name: "Show" }).click();
    await page.getByText(/Hidden again in/).waitFor();
    assert.equal((await shown.textContent()).trim(), first);
    await page.clock.runFor(31_000);
    await page.getByRole("button", { name: "Show" }).waitFor();
    await assertNotKept(page, first);

    await page.getByRole("button", { name: "Reset…" }).click();
    const dialog = page.getByRole("dialog", { name: "Reset the account key?" });
    await inspect(page, "account-key-reset");
    await dialog.getByRole("button", { name: "Reset the key" }).click();
    await dialog.getByText("Type RESET in capital letters.").waitFor();
    await dialog.getByLabel("How long the old key goes on working").selectOption("0");
    await dialog.getByLabel("Type RESET to go on").fill("RESET");
    await dialog.getByRole("button", { name: "Reset the key" }).click();
    await page.getByRole("button", { name: "Hide" }).waitFor();
    const second = (await shown.textContent()).trim();
    assert.notEqual(second, first);
    assert.deepEqual([await works(first), await works(second)], [false, true]);
    await page.getByRole("button", { name: "Hide" }).click();
    await assertNotKept(page, second);
    assert.deepEqual(page.complaints, []);
  });

  test("an operator and an administrator without the grant see no button for it", async () => {
    for (const [name, role] of [["Otto", "operator"], ["Ada", "admin"]]) {
      const person = await office.person(name, role);
      const page = await office.signIn("/settings/account", { as: person });
      await page.getByText("An administrator can show it to you, or let you see it.").waitFor();
      for (const button of ["Show", "Copy", "Generate", "Reset…"]) {
        assert.equal(await page.getByRole("main").getByRole("button", { name: button, exact: true }).count(), 0, `${button} for ${role}`);
      }
      assert.deepEqual(page.complaints, []);
    }
    const page = await office.signIn("/users");
    await page.getByRole("link", { name: "Ada" }).click();
    await page.getByRole("button", { name: "Let them see it" }).click();
    await page.getByText("They may see the account key.").waitFor();
    const ada = await office.signIn("/settings/account", { as: { name: "Ada", password: PASSWORD } });
    await ada.getByRole("button", { name: "Show", exact: true }).waitFor();
    assert.equal(await ada.getByRole("button", { name: "Reset…" }).count(), 0);
    assert.deepEqual(page.complaints, []);
  });

  test("somebody is invited, chooses a password, changes role, is switched off and on, and removed", async () => {
    const page = await office.signIn("/users");
    await page.keyboard.press("c");
    const drawer = page.getByRole("dialog", { name: "Add a user" });
    await drawer.getByLabel("Name", { exact: true }).fill("Rita");
    await inspect(page, "users-add");
    await drawer.getByRole("button", { name: "Add and show the link" }).click();
    const once = page.getByRole("dialog", { name: "A link for Rita" });
    const url = (await once.getByRole("region", { name: "link" }).textContent()).trim();
    await inspect(page, "users-link");
    await once.getByLabel("I passed it on").check();
    await once.getByRole("button", { name: "Done" }).click();
    await assertNotKept(page, url.split("#token=")[1]);
    const body = JSON.stringify({ token: url.split("#token=")[1], password: PASSWORD });
    assert.equal((await fetch(`${office.url}/setup`, { method: "POST", body })).status, 200);
    await inspect(page, "users");

    await page.getByRole("link", { name: "Rita" }).click();
    await page.getByRole("heading", { name: "Rita" }).waitFor();
    await page.getByText("Viewer", { exact: true }).click();
    await page.getByRole("button", { name: "Change the role…" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Change the role" }).click();
    await page.getByText("The role is now: viewer.").waitFor();
    await page.getByRole("button", { name: "Switch off…" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Switch off" }).click();
    await page.getByText("switched off", { exact: true }).waitFor();
    const refused = await office.open();
    await refused.goto("/console/");
    await fillSignIn(refused, { name: "Rita", password: PASSWORD });
    await refused.getByRole("alert").waitFor();
    await inspect(page, "user");
    await page.getByRole("button", { name: "Switch on again" }).click();
    await page.getByText("active", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Remove…" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Remove for good" }).click();
    await page.waitForURL("**/console/users");
    await page.getByRole("link", { name: "demo" }).first().waitFor();
    assert.equal(await page.getByRole("link", { name: "Rita" }).count(), 0);
    assert.deepEqual(page.complaints, []);
  });

  test("who failed too often is let in again, and a service account is made", async () => {
    await office.person("Finn", "operator");
    const outside = await office.open();
    await outside.goto("/console/");
    await fillSignIn(outside, { name: "Finn", password: "not the password" });
    await outside.getByRole("alert").waitFor();
    const page = await office.signIn("/users");
    await page.getByRole("link", { name: "Finn" }).click();
    await page.getByRole("button", { name: "Forget failed tries" }).click();
    await page.getByText("Failed tries are forgotten.").waitFor();
    await fillSignIn(outside, { name: "Finn", password: PASSWORD });
    await outside.getByRole("navigation", { name: "Main" }).waitFor();
    await page.goto("/console/users?create=user");
    const drawer = page.getByRole("dialog", { name: "Add a user" });
    await drawer.getByText("Service account", { exact: true }).click();
    await drawer.getByLabel("Name", { exact: true }).fill("importer");
    await drawer.getByRole("button", { name: "Add", exact: true }).click();
    await page.getByRole("tab", { name: "Service accounts", selected: true }).waitFor();
    await page.getByRole("row").filter({ hasText: "importer" }).waitFor();
    assert.deepEqual(page.complaints, []);
  });

  test("an administrator makes nobody of their own rank", async () => {
    const admin = await office.person("Bea", "admin");
    const page = await office.signIn("/users?create=user", { as: admin });
    const drawer = page.getByRole("dialog", { name: "Add a user" });
    await drawer.getByText("Operator", { exact: true }).waitFor();
    assert.equal(await drawer.getByText("Administrator", { exact: true }).count(), 0);
    await page.keyboard.press("Escape");
    await page.getByRole("link", { name: "demo" }).first().click();
    await page.getByText("Only a global administrator changes an administrator.").waitFor();
    assert.deepEqual(page.complaints, []);
  });

  test("the own password: wrong, too short, changed", async () => {
    const person = await office.person("Paul", "operator");
    const page = await office.signIn("/account", { as: person });
    await inspect(page, "account");
    const fields = [page.getByLabel("Password so far"), page.getByLabel("New password"), page.getByLabel("The same again")];
    const fill = async (...texts) => {
      for (const [at, field] of fields.entries()) await field.fill(texts[at]);
      await page.getByRole("button", { name: "Change the password" }).click();
    };
    await fill(PASSWORD, "short", "short");
    await page.getByText("At least 10 characters.", { exact: true }).waitFor();
    await fill("not my password", "another one 1971", "another one 1971");
    await page.getByRole("alert").waitFor();
    await fill(PASSWORD, "another one 1971", "another one 1971");
    await page.getByText("Your password was changed").waitFor();
    await assertNotKept(page, "another one 1971");
    await office.signIn("/", { as: { name: "Paul", password: "another one 1971" } });
    assert.deepEqual(unexpected(page, 401, 403, 422), []);
  });

  test("a second factor is set up, used at the next sign-in, and switched off", async () => {
    const person = await office.person("Tessa", "operator");
    const page = await office.signIn("/account", { as: person });
    await page.getByRole("button", { name: "Set it up" }).click();
    const dialog = page.getByRole("dialog", { name: "Set up the second factor" });
    await dialog.getByRole("img", { name: "QR code for the authenticator app" }).waitFor();
    await inspect(page, "account-factor");
    await dialog.getByText("Or type it in").click();
    const secret = (await dialog.locator(".secret code").textContent()).replace(/\s/g, "");
    await dialog.getByLabel("Enter the code it shows").fill(code(secret));
    await dialog.getByRole("button", { name: "Switch it on" }).click();
    const once = page.getByRole("dialog", { name: "Your recovery codes" });
    const codes = (await once.getByRole("region", { name: "recovery codes" }).textContent()).trim().split("\n");
    assert.ok(codes.length >= 8);
    await inspect(page, "account-codes");
    await once.getByLabel("I saved them").check();
    await once.getByRole("button", { name: "Done" }).click();
    await page.getByText(`${codes.length} recovery codes are left.`).waitFor();
    await assertNotKept(page, codes[0]);
    await assertNotKept(page, secret);

    const other = await office.open();
    await other.goto("/console/account");
    await fillSignIn(other, person);
    await other.getByLabel("Code").fill(codes[0]);
    await other.getByRole("button", { name: "Sign in" }).click();
    await other.getByText(`${codes.length - 1} recovery codes are left.`).waitFor();
    await other.getByRole("button", { name: "Switch it off…" }).click();
    await other.getByRole("dialog").getByRole("button", { name: "Switch it off" }).click();
    await other.getByRole("button", { name: "Set it up" }).waitFor();
    assert.deepEqual(unexpected(other, 401), []);
    assert.deepEqual(page.complaints, []);
  });

  test("sessions are listed, and one elsewhere is ended", async () => {
    const person = await office.person("Sam", "operator");
    const away = await office.signIn("/jobs", { as: person });
    const page = await office.signIn("/account", { as: person });
    const list = page.getByRole("region", { name: "Where you are signed in" });
    await list.getByText("here", { exact: true }).waitFor();
    await list.getByRole("button", { name: /^Sign out of/ }).first().waitFor();
    for (let left = await list.getByRole("button", { name: /^Sign out of/ }).count(); left > 0; left--) {
      await list.getByRole("button", { name: /^Sign out of/ }).first().click();
      await page.waitForFunction((wanted) => document.querySelectorAll("section li button").length === wanted, left - 1);
    }
    await away.getByLabel("State").selectOption("SUCCESS");
    await away.getByRole("dialog", { name: "Your session has ended" }).waitFor();
    assert.deepEqual(page.complaints, []);
  });
});
