import { expect, test } from "vitest";

import { kind, label, spoken, words, type Rung } from "./ladder";

const rung = (direction: string, frame: string, note: string | null = null) => ({ at_ms: 2100, direction, frame, note }) as Rung;

test("signals are said in plain words", () => {
  expect(words(rung("received", "MCF"))).toBe("arrived well");
  expect(words(rung("received", "PPS-EOP"))).toBe("end of a block, all there?");
  expect(words(rung("received", "486"))).toBe("busy");
  expect(words(rung("received", "499"))).toBe("refused");
  expect(label(rung("sent", "DCS", "14400 bit/s"))).toBe("DCS 14,400 bit/s");
  expect(spoken(rung("received", "CSI", "MED 1"))).toBe("2.1 seconds. They: CSI, their name, MED 1.");
});

test("hanging up is bad news only from the other side", () => {
  expect(kind(rung("sent", "DCN"), true)).toBe("call");
  expect(kind(rung("received", "BYE"), true)).toBe("bad");
  expect(kind(rung("received", "MCF"), false)).toBe("good");
  expect(kind(rung("received", "404"), true)).toBe("bad");
  expect(kind(rung("sent", "page 1"), false)).toBe("talk");
});
