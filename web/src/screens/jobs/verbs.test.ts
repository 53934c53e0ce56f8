import { expect, test, vi } from "vitest";

// The client reads the page it is on, which a test has not.
vi.mock("../../api/client", () => ({ api: {} }));

import { Problem } from "../../api/problem";
import type { Fax } from "../../api/types";
import { ending, forEach, isFor, type Verb } from "./verbs";

const all = { send: true, hold: true };
const verbsFor = (values: Partial<Fax>, may = all) =>
  (["cancel", "hold", "release", "resend"] as Verb[]).filter((verb) => isFor(verb, { pages: 2, ...values } as Fax, may));

test("what can be done with a fax follows from how it stands and who asks", () => {
  expect(verbsFor({ state: "queued" })).toEqual(["cancel", "hold"]);
  expect(verbsFor({ state: "preparing" })).toEqual(["cancel"]);
  expect(verbsFor({ state: "sending" })).toEqual(["cancel"]);
  expect(verbsFor({ state: "held" })).toEqual(["cancel", "release"]);
  expect(verbsFor({ state: "failed" })).toEqual(["resend"]);
  expect(verbsFor({ state: "failed", pages: null })).toEqual([]);
  const sender = { send: true, hold: false };
  expect(verbsFor({ state: "queued" }, sender)).toEqual(["cancel"]);
  expect(verbsFor({ state: "held" }, sender)).toEqual(["cancel"]);
  expect(verbsFor({ state: "held", modifier: "second_look" }, sender)).toEqual(["cancel", "release"]);
});

test("it is asked for a few at a time, and no more where nothing can come of it", async () => {
  let [under, most] = [0, 0];
  const seen: number[] = [];
  const run = async (one: number) => {
    most = Math.max(most, ++under);
    await new Promise((done) => setTimeout(done, 1));
    under--;
    seen.push(one);
    if (one === 3) throw new Problem(409, { detail: "It has ended." });
    if (one === 10) throw new Problem(0, { detail: "Nobody answers." });
  };
  const numbers = Array.from({ length: 40 }, (_, index) => index);
  const problems = await forEach(numbers, run, () => true);
  expect(most).toBe(4);
  expect(problems.map(({ message }) => message)).toEqual(["It has ended.", "Nobody answers."]);
  expect(seen.length).toBeLessThan(16);
  expect(await forEach(numbers, run, () => false)).toEqual([]);
});

test("the end is one sentence", () => {
  const ended = { message: "The fax is delivered already." };
  const busy = { message: "Too many requests." };
  expect(ending("cancel", 3, 3, [])).toBe("3 cancelled.");
  expect(ending("cancel", 4, 3, [ended])).toBe("3 cancelled; 1 could not: The fax is delivered already.");
  expect(ending("hold", 9, 0, [busy, ended, ended])).toBe(
    "None held; 6 not tried; 3 could not, 2 of them: The fax is delivered already.",
  );
});
