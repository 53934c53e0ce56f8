// The ladder of a call: what each signal of T.30 means, and how it is coloured.
import type { Schemas } from "../../api/types";

export type Rung = Schemas["TraceEntry"];

/** Good news, bad news, what is agreed on or asked, and what only happens. */
export type Kind = "good" | "bad" | "talk" | "call";

/** The signals of T.30 and of the call around it, in plain words. */
const WORDS: Record<string, string> = {
  INVITE: "we dial",
  "100": "they are trying",
  "180": "it rings",
  "183": "it rings",
  "200": "they pick up",
  ACK: "we heard it",
  BYE: "hangs up",
  CANCEL: "we give up dialling",
  voice: "a voice",
  CNG: "our fax tone",
  CED: "their fax tone",
  CSI: "their name",
  NSF: "their extras",
  DIS: "what they can do",
  TSI: "our name",
  DCS: "how we will send",
  TCF: "a test of the line",
  CFR: "the line is good",
  FTT: "the line is not good enough",
  EOP: "that was the last page",
  MPS: "end of page, more follow",
  EOM: "end of page, then anew",
  PPS: "end of a block, all there?",
  PPR: "parts are missing",
  RNR: "wait a moment",
  RR: "ready now?",
  CTC: "we go on slower",
  CTR: "slower is fine",
  EOR: "we leave the rest",
  ERR: "agreed",
  MCF: "arrived well",
  RTP: "arrived, barely",
  RTN: "arrived badly",
  PIN: "somebody wants to speak",
  PIP: "somebody wants to speak",
  CRP: "say it again",
  DCN: "goodbye",
};

const GOOD = ["MCF", "CFR", "RTP", "CTR", "200"];
const BAD = ["FTT", "RTN", "PPR", "CRP", "ERR", "voice", "PIN"];
const CALL = ["INVITE", "ACK", "100", "180", "183", "CNG", "CED", "TCF", "CANCEL"];

/** The first word of a frame, which names it: `PPS-EOP` is a `PPS`. */
function name(frame: string): string {
  return frame.split(/[\s-]/)[0] ?? frame;
}

export function words(rung: Rung): string {
  if (/^page \d+/.test(rung.frame)) return "";
  const refused = /^[3-6]\d\d$/.test(rung.frame);
  return WORDS[name(rung.frame)] ?? (refused ? refusal(rung.frame) : "");
}

function refusal(status: string): string {
  const known: Record<string, string> = {
    "404": "no such number",
    "403": "not allowed",
    "408": "no answer",
    "480": "nobody answers",
    "486": "busy",
    "503": "out of service",
    "600": "busy",
    "603": "refused",
  };
  return known[status] ?? "refused";
}

export function kind(rung: Rung, isLast: boolean): Kind {
  const frame = name(rung.frame);
  const isTheirs = rung.direction === "received";
  if (/^[3-6]\d\d$/.test(frame) || BAD.includes(frame)) return "bad";
  // Whoever sends hangs up when all is through; the other side does only when something is wrong.
  if (isTheirs && (frame === "BYE" || (frame === "DCN" && isLast))) return "bad";
  if (GOOD.includes(frame)) return "good";
  return CALL.includes(frame) || frame === "BYE" || frame === "DCN" ? "call" : "talk";
}

/** A rung for those who do not see it. */
export function spoken(rung: Rung): string {
  const who = rung.direction === "sent" ? "We" : "They";
  const parts = [rung.frame, words(rung), rung.note].filter(Boolean).join(", ");
  return `${seconds(rung.at_ms)} seconds. ${who}: ${parts}.`;
}

export function seconds(ms: number): string {
  return (ms / 1000).toFixed(1);
}

/** What stands on a rung. */
export function label(rung: Rung): string {
  // The note of a signal is its value, as in `DCS 14,400 bit/s`.
  const note = rung.note?.replace(/^(\d+)(?= bit\/s$)/, (digits) => Number(digits).toLocaleString("en"));
  return note && note.length <= 24 ? `${rung.frame} ${note}` : rung.frame;
}
