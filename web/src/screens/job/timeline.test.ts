import { expect, test } from "vitest";

import type { Fax } from "../../api/types";
import { timeline, travelled, type Attempt } from "./timeline";

const at = (seconds: number) => new Date(Date.UTC(2026, 2, 1, 12, 0, seconds)).toISOString();
const fax = (values: object) => ({ created_at: at(0), updated_at: at(30), deadline_at: at(3600), confirmed_pages: 1, pages: 3, ...values }) as Fax;
const attempt = (values: object) => ({ number: 1, first_page: 1, started_at: at(1), pages: [], ...values }) as unknown as Attempt;
const page = (number: number) => ({ page: number, confirmed_at: at(3 + number), duration_ms: 1100, bytes: 9 });

test("a life is told in order, what is ahead last", () => {
  const outcome = { class: "remote_hung_up", human: "They hung up. Trying again." };
  const first = attempt({ answered_at: at(2), remote_station_id: "MED 1", pages: [page(1)], ended_at: at(9), outcome });
  const told = timeline(fax({ state: "waiting", next_try_at: at(60) }), [first]);
  expect(told.map(({ text }) => text)).toEqual([
    "Taken in",
    "Call 1 begins",
    "“MED 1” answers",
    "Page 1 confirmed, after 1.1 s",
    "They hung up.",
    "Call 2",
    "Given up, if it has not arrived by then",
  ]);
});

test("many pages are told together", () => {
  const many = attempt({ pages: Array.from({ length: 9 }, (_, index) => page(index + 1)) });
  expect(timeline(fax({ state: "sending" }), [many]).at(-1)?.text).toBe("Pages 1 to 9 confirmed");
});

test("how a call travelled", () => {
  expect(travelled(attempt({ transport: "t38", bit_rate: 14400, ecm: true }))).toBe("T.38 · 14,400 bit/s · error correction");
  expect(travelled(attempt({}))).toBe("");
});
