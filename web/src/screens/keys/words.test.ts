import { expect, test } from "vitest";

import { eventWords, expiry, listOf, prefixesOf, sentence, shortRights, spread } from "./words";

const NOW = new Date("2026-11-29T12:00:00Z");
const wish = { kind: "production", scopes: ["fax:send", "fax:read"], prefixes: [], addresses: [], allJobs: false, expires: null, perMinute: 600 };
const said = (change: object) => sentence({ ...wish, ...change }, NOW).map((piece) => piece.text).join("");

test("a key is said in one sentence", () => {
  expect(said({})).toBe("Can send faxes and read its own faxes, from anywhere, with no end, up to 600 times a minute.");
  expect(said({ prefixes: ["+1555"], addresses: ["192.168.1.0/24"], expires: new Date("2027-02-18T12:00:00Z"), perMinute: 60 })).toMatch(
    /^Can send faxes and read its own faxes, to numbers beginning with \+1555, from 192\.168\.1\.0\/24, until .*2027.*, up to 60 times a minute\.$/,
  );
  expect(said({ allJobs: true })).toContain("read everybody’s faxes");
  expect(said({ kind: "admin" })).toMatch(/^Can do everything, from anywhere/);
  expect(said({ kind: "development" })).toMatch(/simulator\.$/);
  expect(said({ scopes: [] })).toMatch(/nothing yet/);
  expect(said({ scopes: ["fax:read"], prefixes: ["+1555"] })).not.toContain("numbers");
});

test("rights are short in a list", () => {
  const rights = (scopes: string[], resources: object = {}) => shortRights({ scopes, resources: { to_prefixes: [], all_jobs: false, ...resources } });
  expect(rights(["admin"])).toBe("everything");
  expect(rights(["fax:send", "fax:read", "fax:cancel"])).toBe("send, read");
  expect(rights(["fax:send", "inbound:list"], { to_prefixes: ["+1555", "+44"] })).toBe("send to +1555 or +44, inbox");
  expect(rights(["fax:read", "keys:read", "audit:read"], { all_jobs: true })).toBe("read all faxes, 2 more");
  expect(rights(["contacts:read"])).toBe("1 right");
  expect(spread(["admin"]).length).toBe(18);
});

test("an end that is near is told by its days", () => {
  const after = (days: number) => new Date(NOW.getTime() + days * 86_400_000).toISOString();
  expect(expiry(null, NOW)).toEqual({ tone: "wait", text: "never" });
  expect(expiry(after(0.5), NOW)).toEqual({ tone: "bad", text: "within a day" });
  expect(expiry(after(2.5), NOW)).toEqual({ tone: "bad", text: "in 3 days" });
  expect(expiry(after(29.9), NOW)).toEqual({ tone: "wait", text: "in 30 days" });
  expect(expiry(after(90), NOW).tone).toBe("none");
  expect(expiry(after(-1), NOW).tone).toBe("bad");
});

test("lists are read as people write them", () => {
  expect(listOf("10.0.0.0/8, 192.168.1.5\n\n")).toEqual(["10.0.0.0/8", "192.168.1.5"]);
  expect(prefixesOf("+1 (555)\n0044 20")).toEqual(["+1555", "+4420"]);
});

test("a history has words for all that is done", () => {
  expect(eventWords("api_key.changed", { fields: ["ip_allow", "name"] })).toBe("Changed: addresses, name");
  expect(eventWords("api_key.rotated", { previous_valid_until: null })).toMatch(/at once/);
  expect(eventWords("api_key.new_address", { address: "10.0.0.9" })).toContain("10.0.0.9");
});
