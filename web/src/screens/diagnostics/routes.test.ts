import { expect, test } from "vitest";

import { outlook, takenBy, standing, type Route } from "./routes";

const now = new Date(2026, 2, 4, 12, 0);
const route = (values: Partial<Route>) => ({ name: "simulator:2", place: 1, calls: 0, most_calls: 4, spends: false, failures: 0, ...values }) as Route;
const at = (day: number, hour: number, minute = 0) => new Date(2026, 2, day, hour, minute).toISOString();

test("a route says how it stands and what becomes of it", () => {
  expect(standing(route({ state: "in_service" }), now)).toEqual({ tone: "ok", text: "in service" });
  expect(outlook(route({ state: "in_service" }), now)).toBeUndefined();
  expect(standing(route({ state: "outside_hours", opens_at: at(4, 23) }), now).text).toMatch(/^outside its hours until .*(11|23)/);
  expect(standing(route({ state: "outside_hours", opens_at: at(7, 0) }), now).text).toMatch(/until \S*Sat/);
  const out = route({ state: "out_of_service", out_since: at(4, 11, 30), next_probe_at: at(4, 12, 5) });
  expect(standing(out, now)).toMatchObject({ tone: "bad", text: expect.stringMatching(/^out of service since .*11.30/) });
  expect(outlook(out, now)).toContain("Next try in 5 minutes");
  expect(standing(route({ state: "probing" }), now).text).toBe("being tried");
});

test("its place is told where there are several", () => {
  expect(takenBy(route({}), 1)).toBe("all faxes");
  expect(takenBy(route({ place: 2 }), 3)).toContain("number 2 of 3");
  expect(takenBy(route({ place: null }), 3)).toContain("not in their order");
  expect(takenBy(route({ name: "simulator", place: null }), 3)).toContain("test keys");
});
