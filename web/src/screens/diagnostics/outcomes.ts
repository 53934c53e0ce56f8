// What became of a presented key, in words.
import type { Tone } from "../../ui";

const WORDS: Record<string, string> = {
  ok: "let in",
  missing: "no key",
  malformed: "not a key",
  checksum: "mistyped key",
  unknown_id: "unknown key",
  bad_secret: "wrong secret",
  revoked: "revoked key",
  expired: "expired key",
  not_yet_valid: "not valid yet",
  disabled: "switched off",
  owner_disabled: "owner switched off",
  ip_denied: "wrong address",
  scope: "lacks the right",
  resource: "number not allowed",
  rate_limited: "too many requests",
  quota: "day’s quota used up",
  in_query: "key in the address",
};

export const OUTCOMES: readonly string[] = Object.keys(WORDS);

export const outcomeWords = (outcome: string) => WORDS[outcome] ?? outcome;

/** Refusals that end by themselves wait; others want a person. */
export function outcomeTone(outcome: string): Tone {
  if (outcome === "ok") return "ok";
  return ["rate_limited", "quota", "not_yet_valid"].includes(outcome) ? "wait" : "bad";
}
