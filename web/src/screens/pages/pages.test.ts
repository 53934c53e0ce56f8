import { expect, test } from "vitest";

import { duration, stretch } from "./pages";

test("seconds are said as one says them", () => {
  expect([0.2, 12.4, 59.6, 60, 125].map(duration)).toEqual(["1 s", "12 s", "1 min", "1 min", "2 min 05 s"]);
});

test("a page keeps its shape whatever its resolution", () => {
  // A4 in standard has about 1145 rows of 1728 dots.
  expect((1145 * stretch("standard")) / 1728).toBeCloseTo(1.38, 2);
  expect((2290 * stretch("fine")) / 1728).toBeCloseTo(1.38, 2);
});
