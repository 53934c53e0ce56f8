import { expect, test } from "vitest";

import type { Fax } from "../../api/types";
import { needsPerson, showNumber, standing } from "./states";

const fax = (values: Partial<Fax>) => ({ confirmed_pages: 0, pages: 3, ...values }) as Fax;
const now = new Date("2026-03-01T12:00:00Z");

test("a number is shown in groups", () => {
  expect(showNumber("+15551234567")).toBe("+1 555 123 4567");
  expect(showNumber("+15551234567", true)).toBe("+1 ••• ••• 4567");
  expect(showNumber("+493012345678")).toBe("+49 301 234 5678");
  expect(showNumber("100")).toBe("100");
});

test("a fax says how it stands", () => {
  expect(standing(fax({ state: "sending", confirmed_pages: 1 }), now).text).toBe("sending page 2 of 3");
  expect(standing(fax({ state: "sending", confirmed_pages: 3 }), now).text).toBe("sending page 3 of 3");
  expect(standing(fax({ state: "waiting", next_try_at: "2026-03-01T12:03:00Z" }), now)).toEqual({
    tone: "wait",
    text: "again in 3 minutes",
  });
  expect(standing(fax({ state: "queued", modifier: "paused" }), now).text).toBe("dialling is paused");
  expect(standing(fax({ state: "partial", confirmed_pages: 2 }), now).text).toBe("2 of 3 pages arrived");
  expect(needsPerson(fax({ state: "partial" }))).toBe(true);
  expect(needsPerson(fax({ state: "cancelled" }))).toBe(false);
});
