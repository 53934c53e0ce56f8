// How fast the console is beside a long history: `./dev speed`. Prints each measure beside its bar; ends with 1 when
// one is missed. No test, because what it measures depends on the machine and on what else runs there.

import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";

import { missing, openPage, startBrowser, startServe } from "./appliance.js";
import { DESK, fillSignIn, makeAdministrator, PASSWORD } from "./console.js";

const JOBS = 200_000;
const BARS = { firstLoadBytes: 150_000, homeMs: 300, frameMs: 50 };
/** How much slower than this machine the one is on which Home is opened. */
const THROTTLE = 4;
const VISITS = 9;
/** How long a page is left alone before it is asked. */
const LOOK_MS = 1500;
/** Turns of the wheel through the list, and leaps to its end, each of which brings another page of it. */
const TURNS = 120;
const LEAPS = 40;

/** Ended faxes, one every thirty seconds until now, two of a hundred failed, each with its call. */
const HISTORY = `
  INSERT INTO jobs (id, owner_id, to_raw, to_e164, route, state, status, priority, rank, resolution, quality, pages,
      confirmed_pages, source_sha256, attempts, dials, tries, outcome, deadline_at, created_at, updated_at, final_at)
  WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < ${JOBS - 1}),
      faxes AS (SELECT n, n % 50 <> 7 AS good, printf('+1555%07d', n % 20000) AS number,
          unixepoch() * 1000 - (${JOBS} - n) * 30000 AS at FROM numbers)
  SELECT printf('%032x', n), printf('%032x', n % 50), number, number, 'loopback', iif(good, 'delivered', 'failed'),
      iif(good, 'SUCCESS', 'FAILED'), 'normal', 1, 'fine', 'text', 2, iif(good, 2, 0), '', 1, 1, 1,
      json_object('class', iif(good, 'delivered', 'busy'), 'code', iif(good, 'delivered', 'busy'),
          'retryable', json('false'), 'who_acts', NULL, 'human', 'It ended.', 'next_try_at', NULL, 'detail', json('{}')),
      at, at, at, at FROM faxes;
  INSERT INTO attempts (id, job_id, number, route, first_page, started_at, ended_at, outcome)
  SELECT 'a' || substr(id, 2), id, 1, route, 1, created_at, final_at, outcome FROM jobs;
`;

/** The database of a program that does not run. Node itself has no SQLite before 22. */
function seed(folder) {
  const script = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.stdin.read())";
  const done = spawnSync("python3", ["-c", script, join(folder, "pagewire.db")], { input: `BEGIN;${HISTORY}COMMIT;`, encoding: "utf8" });
  if (done.status !== 0) throw new Error(`the history was not written: ${done.stderr}`);
}

/** What a browser receives for an address when it takes gzip: bytes of the body, and the headers. */
function received(address) {
  return new Promise((resolve, reject) => {
    const asked = request(address, { headers: { accept: "text/html", "accept-encoding": "gzip" } }, async (answer) => {
      let bytes = 0;
      for await (const piece of answer) bytes += piece.length;
      resolve({ bytes, headers: answer.headers });
    });
    asked.on("error", reject).end();
  });
}

/** All files of the console that an empty browser fetches until somebody who is signed in sees Home. */
async function firstLoad(page, url) {
  await watchHome(page);
  await open(page, url);
  const loaded = await page.evaluate(() => performance.getEntriesByType("resource").map(({ name }) => name));
  const files = loaded.filter((name) => name.startsWith(`${url}/console/`));
  let bytes = (await received(`${url}/console/`)).bytes;
  const notKept = [];
  for (const file of new Set(files)) {
    const answer = await received(file);
    bytes += answer.bytes;
    if (!answer.headers["cache-control"]?.includes("immutable")) notKept.push(file);
  }
  return { bytes, notKept };
}

/**
 * Has each page that is opened here note in `window.seen` after how many milliseconds Home's menu and buttons stood
 * there and a press would have been answered, and after how many its figures. In the page, because every question
 * from outside while it loads slows it down.
 */
function watchHome(page) {
  return page.addInitScript(() => {
    window.seen = {};
    const watch = new MutationObserver(() => {
      const isThere = document.querySelector("nav a.item") && document.querySelector("main h1") && document.querySelector("main header .btn");
      // The frame that shows it is drawn, and what was queued behind it has run.
      if (isThere) requestAnimationFrame(() => setTimeout(() => (window.seen.usable ??= performance.now())));
      if (!document.querySelector(".figure .count")) return;
      watch.disconnect();
      window.seen.figures = performance.now();
    });
    watch.observe(document, { childList: true, subtree: true });
  });
}

/** Opens Home; what the page noted. */
async function open(page, url) {
  await page.goto(`${url}/console/`, { waitUntil: "load" });
  for (;;) {
    await setTimeout(LOOK_MS);
    const seen = await page.evaluate(() => window.seen);
    if (seen.usable && seen.figures) return seen;
  }
}

/** After how many milliseconds a page of plain text stands there: what the browser itself takes on this machine. */
async function openText(page, url) {
  await page.goto(`${url}/docs`, { waitUntil: "load" });
  await setTimeout(LOOK_MS);
  return page.evaluate(() => performance.getEntriesByType("paint").at(-1).startTime);
}

/** A page in a profile that has seen nothing yet, on a slow machine. */
async function openSlowly(browser, url, cookies) {
  const page = await openPage(browser, url, { viewport: DESK });
  await page.context().addCookies(cookies);
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Emulation.setCPUThrottlingRate", { rate: THROTTLE });
  return page;
}

async function homeIsUsable(browser, url, cookies) {
  const times = { first: [], again: [], figures: [], firstText: [], text: [] };
  for (let visit = 0; visit < VISITS; visit++) {
    const other = await openSlowly(browser, url, cookies);
    times.firstText.push(await openText(other, url));
    await other.context().close();
    const page = await openSlowly(browser, url, cookies);
    await watchHome(page);
    times.first.push((await open(page, url)).usable);
    const again = await open(page, url);
    times.again.push(again.usable);
    times.figures.push(again.figures);
    times.text.push(await openText(page, url));
    await page.context().close();
  }
  return Object.fromEntries(Object.entries(times).map(([name, all]) => [name, median(all)]));
}

const median = (times) => times.toSorted((a, b) => a - b)[times.length >> 1];

/** From now on the longest frame of the page is in `window.watched`; 0 while none took longer than 50 ms. */
function watchFrames(page) {
  return page.evaluate(() => {
    window.watched = 0;
    const watch = new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) window.watched = Math.max(window.watched, duration);
    });
    watch.observe({ type: "long-animation-frame" });
  });
}

async function longList(browser, url, cookies) {
  const page = await openPage(browser, url, { viewport: DESK });
  await page.context().addCookies(cookies);
  await page.goto(`${url}/console/jobs`);
  await page.getByText(`${JOBS.toLocaleString("en")} faxes`).waitFor();
  await page.mouse.move(DESK.width / 2, DESK.height / 2);
  await watchFrames(page);
  for (let turn = 0; turn < TURNS; turn++) {
    await page.mouse.wheel(0, turn % 10 === 9 ? -400 : 700);
    await page.evaluate(() => new Promise(requestAnimationFrame));
  }
  for (let leap = 0; leap < LEAPS; leap++) {
    const before = await page.evaluate(() => {
      const { scrollHeight } = document.documentElement;
      scrollTo(0, scrollHeight);
      return scrollHeight;
    });
    await page.waitForFunction((height) => document.documentElement.scrollHeight > height, before);
  }
  const scrolled = await page.evaluate(() => Math.round(window.watched));
  await page.evaluate(() => (window.watched = 0));
  await page.keyboard.press("/");
  await page.keyboard.type("+155500123", { delay: 60 });
  await page.getByText(/^[\d,]+ faxes found/).waitFor();
  await page.getByLabel("State").selectOption("FAILED");
  await page.waitForURL(/status=FAILED/);
  await page.keyboard.press("Escape");
  const searched = await page.evaluate(() => Math.round(window.watched));
  if (page.complaints.length > 0) throw new Error(page.complaints.join("\n"));
  return { scrolled, searched };
}

/** One line of the table; answers whether the bar is held. */
function row(what, measured, bar, text = (value) => value) {
  const isHeld = measured <= bar;
  console.log(`${what.padEnd(58)} ${String(text(measured)).padStart(10)}   bar ${String(text(bar)).padEnd(9)} ${isHeld ? "held" : "MISSED"}`);
  return isHeld;
}

async function measure(folder) {
  await (await startServe({ folder })).stop();
  console.error(`writing ${JOBS.toLocaleString("en")} faxes`);
  seed(folder);
  const served = await startServe({ folder, args: ["--https-listen", "", "--route", "loopback"] });
  const browser = await startBrowser();
  try {
    await makeAdministrator(served);
    const page = await openPage(browser, served.url, { viewport: DESK });
    await page.goto(`${served.url}/console/about`);
    await fillSignIn(page, { name: "demo", password: PASSWORD });
    await page.getByRole("heading", { name: "About" }).waitFor();
    const cookies = await page.context().cookies();
    const empty = await openPage(browser, served.url, { viewport: DESK });
    await empty.context().addCookies(cookies);

    const ms = (value) => `${Math.round(value)} ms`;
    const loaded = await firstLoad(empty, served.url);
    const held = [
      row("First load, from nothing to Home, gzip", loaded.bytes, BARS.firstLoadBytes, (bytes) => `${(bytes / 1000).toFixed(1)} kB`),
      row("Its files that a browser does not keep for ever", loaded.notKept.length, 0),
    ];
    const home = await homeIsUsable(browser, served.url, cookies);
    // Whoever is signed in has loaded the console in this browser before: the sign-in is part of it.
    held.push(row(`Home usable, CPU ${THROTTLE} times slower`, home.again, BARS.homeMs, ms));
    console.log(`  the day's figures ${ms(home.figures)}; a page of plain text takes ${ms(home.text)}`);
    console.log(`  in a profile that has seen nothing yet ${ms(home.first)}; a page of plain text takes ${ms(home.firstText)}`);
    const list = await longList(browser, served.url, cookies);
    // Shorter frames than those that are told of are not measured.
    const frame = (value) => (value === 0 ? `< ${BARS.frameMs} ms` : ms(value));
    held.push(
      row(`Longest frame scrolling ${JOBS.toLocaleString("en")} jobs`, list.scrolled, BARS.frameMs, frame),
      row(`Longest frame searching ${JOBS.toLocaleString("en")} jobs`, list.searched, BARS.frameMs, frame),
    );
    return held.every(Boolean);
  } finally {
    await browser.close();
    await served.stop();
  }
}

if (missing) throw new Error(missing);
const folder = await mkdtemp(join(tmpdir(), "pagewire-speed-"));
try {
  if (!(await measure(folder))) process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}
