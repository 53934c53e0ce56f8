import { expect, test } from "vitest";

import { matchPath } from "./match";

test("an address is matched part by part", () => {
  expect(matchPath("/jobs/:id", "/jobs/0198-a")).toEqual({ id: "0198-a" });
  expect(matchPath("/jobs/:id", "/jobs/a%20b")).toEqual({ id: "a b" });
  expect(matchPath("/jobs", "/jobs")).toEqual({});
  expect(matchPath("/jobs/:id", "/jobs")).toBeUndefined();
  expect(matchPath("/jobs/:id", "/jobs/")).toBeUndefined();
  expect(matchPath("/jobs/:id", "/jobs/a/b")).toBeUndefined();
  expect(matchPath("/jobs/:id", "/jobs/%E0%A4%A")).toBeUndefined();
});
