import { expect, test } from "vitest";

import { Chosen } from "./chosen.svelte";

const order = ["a", "b", "c", "d", "e"];
const of = (chosen: Chosen) => order.filter((id) => chosen.has(id)).join("");

test("a range goes from the row pressed last, in either direction, and is taken back the same way", () => {
  const chosen = new Chosen();
  chosen.set("d", true);
  chosen.setTo("b", true, order);
  expect(of(chosen)).toBe("bcd");
  chosen.setTo("c", false, order);
  expect(of(chosen)).toBe("d");
});

test("without a row to begin at, or with one that is not shown any more, a range is one row", () => {
  const chosen = new Chosen();
  chosen.setTo("c", true, order);
  expect(of(chosen)).toBe("c");
  chosen.set("gone", true);
  chosen.setTo("e", true, order);
  expect(of(chosen)).toBe("ce");
  chosen.clear();
  expect(chosen.size).toBe(0);
});
