// The console's frame: signing in, addresses, an ended session, a lost connection, roles, keys.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { missing } from "./appliance.js";
import { assertNotKept, fillSignIn, inspect, PASSWORD, startOffice } from "./console.js";

describe("the frame", { skip: missing }, () => {
  let office;

  before(async () => {
    office = await startOffice();
  });

  after(() => office?.stop());

  test("who is not signed in sees one form and nothing else", async () => {
    const page = await office.open();
    await page.goto("/console/");
    await page.getByRole("button", { name: "Sign in" }).waitFor();
    await inspect(page, "sign-in");
  });

  test("a wrong password is told of in the server's words", async () => {
    const page = await office.open();
    await page.goto("/console/");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("Enter your user name.").waitFor();
    await fillSignIn(page, { name: "nobody", password: "not the password" });
    await page.getByRole("alert").waitFor();
    assert.match(await page.getByRole("alert").textContent(), /\w+/);
    assert.equal(page.complaints.filter((complaint) => !complaint.includes("401")).length, 0);
  });

  test("signing in leads where the address said, and keeps nothing", async () => {
    const page = await office.signIn("/jobs?status=SUCCESS");
    assert.equal(new URL(page.url()).pathname, "/console/jobs");
    assert.equal(await page.title(), "Jobs · Pagewire");
    await assertNotKept(page, PASSWORD);
    await page.reload();
    await page.getByRole("heading", { name: "Jobs", level: 1 }).waitFor();
    assert.deepEqual(page.complaints, []);
  });

  test("each address is a step in the history", async () => {
    const page = await office.signIn("/");
    const menu = page.getByRole("navigation", { name: "Main" });
    await menu.getByRole("link", { name: "Jobs" }).click();
    await page.getByRole("heading", { name: "Jobs", level: 1 }).waitFor();
    await menu.getByRole("link", { name: "Audit" }).click();
    await page.getByRole("heading", { name: "Audit", level: 1 }).waitFor();
    await page.goBack();
    await page.getByRole("heading", { name: "Jobs", level: 1 }).waitFor();
    await page.goto("/console/nowhere/at/all");
    await page.getByRole("heading", { name: "There is no such page" }).waitFor();
    await inspect(page, "not-found");
  });

  test("an ended session asks for the password and loses nothing", async () => {
    const page = await office.signIn("/jobs");
    await page.getByRole("searchbox").fill("+1555");
    await page.waitForURL(/q=/);
    await page.context().clearCookies();
    await page.getByLabel("State").selectOption("SUCCESS");
    const dialog = page.getByRole("dialog", { name: "Your session has ended" });
    await dialog.waitFor();
    await dialog.getByLabel("Password").fill(PASSWORD);
    await dialog.getByRole("button", { name: "Sign in", exact: true }).click();
    await dialog.waitFor({ state: "hidden" });
    assert.equal(await page.getByRole("searchbox").inputValue(), "+1555");
    await page.getByText(/found · newest first/).waitFor();
    await assertNotKept(page, PASSWORD);
  });

  test("a lost connection shows a banner, which goes by itself", async () => {
    const page = await office.signIn("/jobs");
    await page.context().setOffline(true);
    await page.getByLabel("State").selectOption("FAILED");
    const banner = page.getByText("The appliance does not answer. What you see may be old");
    await banner.waitFor();
    await page.context().setOffline(false);
    await banner.waitFor({ state: "hidden" });
    await page.getByText(/found · newest first/).waitFor();
  });

  test("a password that somebody else gave is changed at the first sign-in, and one is in", async () => {
    const given = "written on a note";
    const desk = await office.signIn("/users?create=user");
    const drawer = desk.getByRole("dialog", { name: "Add a user" });
    await drawer.getByLabel("Name", { exact: true }).fill("Nora");
    await drawer.getByText("I give a first one").click();
    await drawer.getByLabel("First password").fill(given);
    await drawer.getByRole("button", { name: "Add" }).click();
    await desk.getByText("Nora was added.").waitFor();
    const page = await office.open();
    await page.goto("/console/jobs");
    await fillSignIn(page, { name: "Nora", password: given });
    await page.getByRole("heading", { name: "Choose a password" }).waitFor();
    await page.getByLabel("Password so far").fill(given);
    await page.getByLabel("New password").fill(PASSWORD);
    await page.getByLabel("The same again").fill(PASSWORD);
    await page.getByRole("button", { name: "Use this password" }).click();
    await page.getByRole("heading", { name: "Jobs", level: 1 }).waitFor();
    assert.deepEqual(page.complaints, []);
  });

  test("a screen that is left sees nothing of the next one's address", async () => {
    const fax = await office.fax("+15005550000", "Left.", { key: office.demo.api_key });
    const page = await office.signIn(`/jobs/${fax.id}`);
    const asked = [];
    page.on("request", (request) => asked.push(new URL(request.url()).pathname));
    const link = page.locator("dd a.mono");
    const key = (await link.textContent()).trim();
    await link.click();
    await page.getByRole("heading", { name: "Use it in a program" }).waitFor();
    assert.deepEqual(asked.filter((path) => path.startsWith("/fax/") && path.includes(key)), []);
    await page.goBack();
    await page.getByRole("heading", { name: "The page was delivered." }).waitFor();
    assert.deepEqual(asked.filter((path) => path.includes("undefined") || (path.startsWith("/admin/api-keys/") && path.includes(fax.id))), []);
    assert.deepEqual(page.complaints, []);
  });

  test("a dialog that opens while another closes stays", async () => {
    const page = await office.signIn("/keys");
    await page.getByRole("table").getByRole("link").first().click();
    await page.getByRole("button", { name: "Change", exact: true }).click();
    await page.getByRole("dialog", { name: "Change the key" }).getByRole("button", { name: "Save" }).waitFor();
    // The browser tells that a dialog was closed only after this.
    await page.evaluate(async () => {
      const button = (text) => [...document.querySelectorAll("button")].find((one) => one.textContent.trim() === text);
      const told = new Promise((done) => document.querySelector("dialog[open]").addEventListener("close", done));
      button("Cancel").click();
      for (let turns = 0; turns < 20; turns++) await Promise.resolve();
      button("Test this key…").click();
      await told;
      await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    });
    assert.ok(await page.getByRole("dialog", { name: "Test this key" }).isVisible());
    assert.deepEqual(page.complaints, []);
  });

  test("the menu has what the role may see", async () => {
    const viewer = await office.person("Vera", "viewer");
    const page = await office.signIn("/", { as: viewer });
    const links = page.getByRole("navigation", { name: "Main" }).locator("a.item");
    assert.deepEqual((await links.allTextContents()).map((text) => text.trim()), ["Home", "Jobs", "Diagnostics"]);
    await page.goto("/console/users");
    await page.getByRole("heading", { name: "Not for you" }).waitFor();
    assert.deepEqual(page.complaints, []);
  });

  test("keys lead everywhere", async () => {
    const page = await office.signIn("/jobs");
    await page.keyboard.press("?");
    await page.getByRole("dialog", { name: "Keys and help" }).waitFor();
    await inspect(page, "help");
    await page.keyboard.press("Escape");
    await page.keyboard.press("/");
    assert.equal(await page.evaluate(() => document.activeElement.type), "search");
    await page.keyboard.press("Control+k");
    await page.getByRole("combobox", { name: "Go to" }).waitFor();
    await inspect(page, "palette");
    await page.keyboard.type("audit");
    await page.keyboard.press("Enter");
    await page.waitForURL("**/console/audit");
    await page.getByRole("heading", { name: "Audit", level: 1 }).waitFor();
    await page.goto("/console/jobs");
    await page.locator("main h1").waitFor();
    await page.keyboard.press("c");
    await page.waitForURL("**/console/send");
  });

  test("the licences of what is built in are listed", async () => {
    const page = await office.signIn("/about");
    await page.getByText(/svelte 5\.\d+\.\d+ \(MIT\)/).waitFor();
    await inspect(page, "about");
  });
});
