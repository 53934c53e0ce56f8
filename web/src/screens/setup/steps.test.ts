import { expect, test } from "vitest";

import { stepAfter, stepOf, testNumber } from "./steps";

test("an address names a step, and steps follow each other", () => {
  expect(stepOf(null)).toBe("recovery");
  expect(stepOf("elsewhere")).toBe("recovery");
  expect(stepOf("key")).toBe("key");
  expect(stepAfter("key")).toBe("test");
  expect(stepAfter("done")).toBe("done");
});

test("the test fax goes to the own number where there is one", () => {
  expect(testNumber("+49 30 1234567", "49")).toBe("+49301234567");
  expect(testNumber("", "1")).toBe("+15550100123");
  expect(testNumber("030 1234567", "49")).toBe("+493055501234");
});
