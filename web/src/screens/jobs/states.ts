import type { Fax } from "../../api/types";
import { relativeTime } from "../../ui/time";
import type { Tone } from "../../ui/Tag.svelte";

/** How a fax stands, in a few words and a colour. */
export function standing(fax: Fax, now = new Date()): { tone: Tone; text: string } {
  const until = (at: string | null | undefined) => (at ? ` ${relativeTime(new Date(at), now)}` : "");
  switch (fax.state) {
    case "delivered":
      return { tone: "ok", text: "delivered" };
    case "sending": {
      const page = Math.min(fax.confirmed_pages + 1, fax.pages ?? Infinity);
      return { tone: "on", text: fax.pages ? `sending page ${page} of ${fax.pages}` : "sending" };
    }
    case "dialing":
      return { tone: "on", text: "dialling" };
    case "preparing":
      return { tone: "on", text: "preparing" };
    case "queued":
      return fax.modifier ? { tone: "wait", text: heldBack(fax.modifier) } : { tone: "none", text: "waiting for its turn" };
    case "waiting":
      return { tone: "wait", text: `${ending(fax)}again${until(fax.next_try_at)}`.trim() };
    case "scheduled":
      return { tone: "none", text: `scheduled${until(fax.schedule_at)}` };
    case "held":
      return { tone: "wait", text: "held" };
    case "partial":
      return { tone: "bad", text: `${fax.confirmed_pages} of ${fax.pages ?? "?"} pages arrived` };
    case "failed":
      return { tone: "bad", text: "failed" };
    case "expired":
      return { tone: "bad", text: "ran out of time" };
    case "cancelled":
      return { tone: "none", text: "cancelled" };
    default:
      return { tone: "none", text: fax.state };
  }
}

function ending(fax: Fax): string {
  const words: Record<string, string> = { busy: "busy, ", no_answer: "no answer, " };
  return words[fax.outcome?.class ?? ""] ?? "";
}

function heldBack(modifier: string): string {
  const words: Record<string, string> = {
    blocked: "after another to this number",
    outside_hours: "outside its hours",
    no_line: "all lines are in use",
    paused: "dialling is paused",
    spending_limit: "limit reached",
  };
  return words[modifier] ?? modifier;
}

/** Whether nothing more happens to it. */
export function isEnded(fax: Fax): boolean {
  return ["delivered", "partial", "failed", "expired", "cancelled"].includes(fax.state);
}

/** Whether a call for it is under way. */
export function isCalling(fax: Fax): boolean {
  return ["dialing", "sending"].includes(fax.state);
}

/** Whether somebody should look at it. */
export function needsPerson(fax: Fax): boolean {
  return ["failed", "partial", "expired"].includes(fax.state);
}

/** A number in groups that can be read out; `masked` for who may not see it whole. */
export function showNumber(number: string, masked = false): string {
  const northAmerican = /^\+1(\d{3})(\d{3})(\d{4})$/.exec(number);
  const grouped = northAmerican
    ? `+1 ${northAmerican.slice(1).join(" ")}`
    : number.replace(/^(\+\d{2})(\d+)$/, (_all, country: string, rest: string) => {
        return `${country} ${rest.replace(/(\d{3})(?=\d{3})/g, "$1 ")}`;
      });
  // The country and the last four digits tell enough to find it again.
  return masked ? grouped.replace(/(?<=\s.*)\d(?=(?:\s*\d){4})/g, "•") : grouped;
}
