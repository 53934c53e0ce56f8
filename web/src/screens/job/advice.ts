// What a person needs to know of a fax: what happened, who must act, what comes next, and one button.
import type { Fax } from "../../api/types";
import type { Tone } from "../../ui/Tag.svelte";

/** What the one button does. */
export type Step = "fix" | "resend" | "release" | "confirm" | "now" | "resume" | "write";

export interface Advice {
  tone: Tone;
  /** One sentence. */
  title: string;
  /** Who must act; left out when there is nothing to do. */
  who?: string;
  /** What happens next. */
  next: string;
  /** When that is. */
  at?: string | null | undefined;
  /** What more is to be said of it. */
  also?: string;
  step?: Step;
}

const WHO: Record<string, string> = {
  us: "Nobody. The appliance goes on by itself.",
  sender: "Whoever sent it.",
  recipient: "The recipient, at their fax machine.",
  carrier: "The telephone company.",
  admin: "An administrator.",
};

/** Endings after which the same number would fail again. */
const WRONG_NUMBER = ["number_bad", "human_or_voice", "blocked_by_policy"];
/** Endings of documents that would fail again. */
const WRONG_DOCUMENT = ["document", "too_big", "incompatible"];

/** The server's sentence, in two: what happened, and what follows. */
export function halves(human: string): [string, string] {
  const end = /[.!?](?=\s)/.exec(human);
  return end ? [human.slice(0, end.index + 1), human.slice(end.index + 1).trim()] : [human, ""];
}

export function advice(fax: Fax): Advice {
  const outcome = fax.outcome ?? undefined;
  const [happened, follows] = halves(outcome?.human ?? "");
  const who = WHO[outcome?.who_acts ?? ""];
  const from = fax.confirmed_pages + 1;
  const goesOn = fax.confirmed_pages > 0 ? `, from page ${from} on` : "";
  switch (fax.state) {
    case "preparing":
      return { tone: "on", title: "The document is being turned into fax pages.", next: "Then it is dialled." };
    case "queued":
      if (fax.modifier === "paused")
        return { tone: "wait", title: "All dialling is paused.", who: "An administrator.", next: "It is dialled as soon as dialling goes on.", step: "resume" };
      if (fax.modifier)
        return { tone: "wait", title: fax.waiting_for ?? "It is held back.", who: WHO.us, next: "It is dialled as soon as that is over." };
      return { tone: "on", title: "It waits for its turn.", next: "A line dials it in a moment." };
    case "dialing":
      return { tone: "on", title: "Dialling now.", next: `The pages follow as soon as their machine answers${goesOn}.` };
    case "sending":
      return {
        tone: "on",
        title: fax.pages ? `Page ${Math.min(from, fax.pages)} of ${fax.pages} is on the line.` : "Pages are on the line.",
        next: "Each page counts when their machine confirms it.",
      };
    case "waiting":
      return {
        tone: "wait",
        title: happened || "The last call did not get through.",
        who: WHO.us,
        next: "We call again",
        at: fax.next_try_at,
        also: goesOn,
        step: "now",
      };
    case "scheduled":
      return { tone: "none", title: "It waits for its time.", who: WHO.us, next: "We send it", at: fax.schedule_at, step: "now" };
    case "held":
      if (fax.modifier === "second_look") {
        const [near, what] = halves(fax.waiting_for ?? "The number is new here.");
        return { tone: "wait", title: near, who: WHO.sender, next: what || "Nothing is dialled before somebody has looked at the number.", step: "confirm" };
      }
      return {
        tone: "wait",
        title: outcome ? happened : "It is held.",
        who: "An administrator.",
        next: "Nothing is dialled before somebody releases it.",
        step: "release",
      };
    case "delivered":
      return { tone: "ok", title: outcome?.human ?? "It was delivered.", next: "" };
    case "cancelled":
      return { tone: "none", title: happened || "It was cancelled.", next: partly(fax) ?? "Nothing more is sent.", step: "resend" };
    default: {
      const next = [partly(fax), follows].filter(Boolean).join(" ");
      return { tone: "bad", title: happened || "It did not arrive.", who: who ?? "Whoever sent it.", next, step: stepAfter(outcome?.class ?? "") };
    }
  }
}

function stepAfter(ending: string): Step {
  if (WRONG_NUMBER.includes(ending)) return "fix";
  return WRONG_DOCUMENT.includes(ending) ? "write" : "resend";
}

function partly(fax: Fax): string | undefined {
  if (fax.confirmed_pages === 0) return undefined;
  return `${fax.confirmed_pages} of ${fax.pages ?? "?"} pages had arrived.`;
}
