import { expect, test } from "vitest";

import { actionWords, actorWords, changes, dayStart, targetWords } from "./words";

const names = { accounts: new Map([["7", "anna"]]), keys: new Map([["0123456789ab", "Practice"]]) };

test("who did it is named", () => {
  expect(actorWords("user:anna", names)).toBe("anna");
  expect(actorWords("key:0123456789ab", names)).toBe("Practice (key)");
  expect(actorWords("key:ffffffffffff", names)).toBe("key ffffffffffff");
  expect(actorWords("cli:0", names)).toBe("root, on the appliance");
  expect(actorWords("system", names)).toBe("the appliance itself");
});

test("to which thing is named, and leads there", () => {
  expect(targetWords("account:7", names)).toEqual({ text: "anna" });
  expect(targetWords("api_key:0123456789ab", names)).toEqual({ text: "Practice", path: "/keys/0123456789ab" });
  expect(targetWords("something:new", names)).toEqual({ text: "something:new" });
  expect(actionWords("something.new")).toBe("something.new");
});

test("a change is told field by field", () => {
  expect(changes({ before: { a: 1, gone: "x" }, after: { a: 2, list: [], on: true, deep: { n: null, m: 3 } } })).toEqual([
    { field: "a", before: "1", after: "2" },
    { field: "gone", before: "x", after: undefined },
    { field: "list", before: undefined, after: "none" },
    { field: "on", before: undefined, after: "yes" },
    { field: "deep", before: undefined, after: "m: 3" },
  ]);
  expect(changes({ before: null, after: null })).toEqual([]);
});

test("a day begins at local midnight", () => {
  expect(dayStart("2026-03-01")).toBe(new Date(2026, 2, 1).toISOString());
  expect(dayStart("2026-02-28", 1)).toBe(new Date(2026, 2, 1).toISOString());
  expect(dayStart("soon")).toBeUndefined();
});
