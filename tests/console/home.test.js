// Home: how the day stands, what needs a person, and the brake for all dialling.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { missing } from "./appliance.js";
import { fillSignIn, inspect, startOffice } from "./console.js";

describe("home", { skip: missing }, () => {
  let office;

  before(async () => {
    office = await startOffice();
  });

  after(() => office?.stop());

  const figure = (page, name) => page.locator(".figure").filter({ hasText: name }).locator(".count");

  test("today's figures move by themselves", async () => {
    const page = await office.signIn("/");
    const delivered = figure(page, "delivered today");
    await delivered.waitFor();
    const before = Number(await delivered.textContent());
    await office.fax("+15550100002", "Counted.", { key: office.demo.api_key });
    await page.waitForFunction((count) => Number(document.querySelector(".figure .count").textContent) > count, before);
    await page.getByRole("heading", { name: "Line and limits" }).waitFor();
    await page.getByText(/% used/).waitFor();
    assert.deepEqual(page.complaints, []);
  });

  test("what is on the line is followed", async () => {
    const page = await office.signIn("/");
    await office.fax("+15005550000", "One.\fTwo.\fThree.", { tag: "followed" });
    const row = page.getByRole("listitem").filter({ hasText: "followed" });
    await row.getByText(/sending page \d of 3/).waitFor();
    await row.waitFor({ state: "detached" });
    assert.deepEqual(page.complaints, []);
  });

  test("a fax that is called while the page reads is under way once", async () => {
    await office.local("POST", "/admin/pause", {});
    const fax = await office.fax("+15005550000", "One.\fTwo.\fThree.", { tag: "between" });
    const page = await office.open();
    // The list of what waits is answered before the call, the one of calls after it began.
    let begun;
    const hasBegun = new Promise((resolve) => (begun = resolve));
    await page.route(/fax-jobs\?.*status=in_progress/, async (route) => {
      await hasBegun;
      await route.continue();
    });
    const waiting = page.waitForResponse(/fax-jobs\?.*status=queued/);
    await page.goto(`${office.url}/console/`);
    await fillSignIn(page, office.admin);
    await (await waiting).finished();
    await office.local("POST", "/admin/resume");
    const state = async () => (await office.local("GET", `/fax/${fax.id}`)).state;
    while ((await state()) === "queued");
    begun();
    const row = page.getByRole("listitem").filter({ hasText: "between" });
    await row.waitFor();
    await row.waitFor({ state: "detached" });
    await figure(page, "delivered today").waitFor();
    assert.deepEqual(page.complaints, []);
  });

  test("all dialling is paused after a question, and goes on", async () => {
    const page = await office.signIn("/");
    await page.getByRole("button", { name: "Pause all dialling" }).click();
    const dialog = page.getByRole("dialog", { name: "Pause all dialling?" });
    await dialog.getByLabel("Why").fill("The line is being repaired");
    await inspect(page, "home-pause");
    await dialog.getByRole("button", { name: "Pause all dialling" }).click();
    await dialog.waitFor({ state: "hidden" });
    const card = page.getByRole("listitem").filter({ hasText: "The line is being repaired" });
    await card.waitFor();
    const fax = await office.fax("+15005550000", "Waits.", { tag: "waits" });
    await page.getByText("dialling is paused", { exact: true }).waitFor();
    const job = await office.signIn(`/jobs/${fax.id}`);
    await job.getByRole("heading", { name: /^All dialling is paused/ }).waitFor();
    await card.getByRole("button", { name: /^Go on dialling/ }).click();
    await card.waitFor({ state: "detached" });
    await job.getByRole("heading", { name: "The page was delivered." }).waitFor();
    for (const one of [page, job]) assert.deepEqual(one.complaints, []);
  });

  test("what did not arrive asks for a person, who sees to it", async () => {
    const first = await office.fax("+15005550004", "Wrong.", { key: office.demo.api_key });
    const page = await office.signIn("/");
    const matter = page.locator(".card").filter({ hasText: "did not arrive" });
    await matter.getByRole("link", { name: "+1 500 555 0004" }).waitFor();
    await inspect(page, "home");
    await matter.getByRole("button", { name: /^Seen to/ }).click();
    await matter.waitFor({ state: "detached" });
    const second = await office.fax("+15005550004", "Wrong again.", { key: office.demo.api_key });
    await matter.getByRole("link", { name: "+1 500 555 0004" }).click();
    await page.waitForURL(`**/jobs/${second.id}`);
    assert.notEqual(first.id, second.id);
    assert.deepEqual(page.complaints, []);
  });

  test("a viewer sees how it stands, numbers masked, and no button", async () => {
    const viewer = await office.person("Vera", "viewer");
    await office.fax("+15005550004", "Masked.", { key: office.demo.api_key });
    const page = await office.signIn("/", { as: viewer });
    const matter = page.locator(".card").filter({ hasText: "did not arrive" });
    await matter.waitFor();
    assert.ok(!(await page.locator("main").textContent()).replace(/\s/g, "").includes("15005550004"));
    assert.match(await matter.textContent(), /…0004/);
    assert.equal(await page.getByRole("button", { name: "Pause all dialling" }).count(), 0);
    assert.equal(await matter.getByRole("button").count(), 0);
    await inspect(page, "home-viewer");

    await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "Jobs" }).click();
    await page.getByRole("link", { name: "…0004" }).first().click();
    await page.getByRole("heading", { name: "…0004" }).waitFor();
    await page.getByRole("heading", { name: "What happened" }).waitFor();
    assert.equal(await page.getByRole("link", { name: "PDF" }).count(), 0);
    assert.equal(await page.locator(".strip img").count(), 0);
    await inspect(page, "job-viewer");
    assert.deepEqual(page.complaints, []);
  });

  test("it goes on by itself after the appliance was away", async () => {
    const page = await office.signIn("/");
    const delivered = figure(page, "delivered today");
    await delivered.waitFor();
    const before = Number(await delivered.textContent());
    await page.context().setOffline(true);
    await page.getByRole("button", { name: "Pause all dialling" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Pause all dialling" }).click();
    await page.getByText("What you see may be old").waitFor();
    await page.getByRole("dialog").getByText("The appliance does not answer").waitFor();
    await page.keyboard.press("Escape");
    await office.fax("+15550100003", "Meanwhile.", { key: office.demo.api_key });
    await page.context().setOffline(false);
    await page.waitForFunction((count) => Number(document.querySelector(".figure .count").textContent) > count, before);
    await page.getByRole("button", { name: "Pause all dialling" }).waitFor();
  });
});
