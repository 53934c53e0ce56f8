import { expect, test } from "vitest";

import type { Fax } from "../../api/types";
import { advice, halves } from "./advice";

const fax = (values: object) => ({ confirmed_pages: 0, pages: 3, ...values }) as Fax;

test("the server's sentence is what happened and what follows", () => {
  expect(halves("The line was busy. Trying again at 14:05 UTC.")).toEqual(["The line was busy.", "Trying again at 14:05 UTC."]);
  expect(halves("All pages arrived.")).toEqual(["All pages arrived.", ""]);
});

test("a wrong number asks for another, a wrong document for another document", () => {
  const outcome = { class: "number_bad", who_acts: "sender", human: "The number is wrong. Correct it." };
  expect(advice(fax({ state: "failed", outcome }))).toMatchObject({ tone: "bad", title: "The number is wrong.", next: "Correct it.", step: "fix" });
  expect(advice(fax({ state: "failed", outcome: { ...outcome, class: "document" } })).step).toBe("write");
  expect(advice(fax({ state: "failed", outcome: { ...outcome, class: "busy" } })).step).toBe("resend");
});

test("what goes on by itself says when, and where it goes on", () => {
  const at = "2026-03-01T12:05:00Z";
  const outcome = { class: "remote_hung_up", who_acts: "us", human: "They hung up during page 2. Trying again at 12:05 UTC." };
  const said = advice(fax({ state: "waiting", confirmed_pages: 1, next_try_at: at, outcome }));
  expect(said).toMatchObject({ title: "They hung up during page 2.", next: "We call again", at, also: ", from page 2 on", step: "now" });
});

test("a number that resembles another is looked at by who sent it", () => {
  const waiting_for = "The number is one digit away from “Oak Street”. It is held until somebody has looked.";
  expect(advice(fax({ state: "held", modifier: "second_look", waiting_for }))).toMatchObject({
    title: "The number is one digit away from “Oak Street”.",
    who: "Whoever sent it.",
    step: "confirm",
  });
  expect(advice(fax({ state: "held" })).step).toBe("release");
});

test("what arrived in part says so", () => {
  const outcome = { class: "remote_hung_up", who_acts: "recipient", human: "They hung up. Ask them." };
  expect(advice(fax({ state: "partial", confirmed_pages: 2, outcome })).next).toBe("2 of 3 pages had arrived. Ask them.");
});
