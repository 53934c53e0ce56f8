import { expect, test } from "vitest";

import { gigabytes, greeting, itemPlace, midnight, place, underWay } from "./summary";

test("the day begins at local midnight", () => {
  const now = new Date(2026, 2, 1, 14, 30);
  expect(new Date(midnight(now)).getHours()).toBe(0);
  expect(new Date(midnight(now)).getDate()).toBe(1);
});

test("one is greeted as the hour is", () => {
  expect([4, 9, 12, 19].map((hour) => greeting(new Date(2026, 2, 1, hour)))).toEqual([
    "Good evening",
    "Good morning",
    "Good afternoon",
    "Good evening",
  ]);
});

test("sizes and places", () => {
  expect([gigabytes(4_321_000_000), gigabytes(120e9)]).toEqual(["4.3 GB", "120 GB"]);
  expect(itemPlace("faxes_failed", "7")).toBe("/jobs/7");
  expect(place("dialling_paused")).toBeUndefined();
});

test("a fax that was called between the two readings is under way once", () => {
  const called = { id: "1", state: "dialing" };
  const waits = { id: "2", state: "queued" };
  expect(underWay([called], [{ id: "1", state: "queued" }, waits])).toEqual([called, waits]);
  expect(underWay([], [])).toEqual([]);
});
