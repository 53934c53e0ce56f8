// The life of a fax in order, from what is known of it and of its calls.
import type { Fax, Schemas } from "../../api/types";
import type { Tone } from "../../ui/Tag.svelte";
import { halves } from "./advice";

export type Attempt = Schemas["Attempt"];

export interface Moment {
  at: string;
  text: string;
  tone: Tone;
  /** It has not come yet. */
  isAhead?: boolean;
}

const ENDED: Record<string, string> = { cancelled: "Cancelled", expired: "Given up: its time ran out" };

export function timeline(fax: Fax, attempts: readonly Attempt[]): Moment[] {
  const moments: Moment[] = [{ at: fax.created_at, text: fax.resend_of ? "Taken in, to send pages again" : "Taken in", tone: "none" }];
  const add = (at: string | null | undefined, text: string, tone: Tone = "none") => {
    if (at) moments.push({ at, text, tone });
  };
  for (const attempt of attempts) {
    add(attempt.started_at, `Call ${attempt.number} begins${attempt.first_page > 1 ? `, with page ${attempt.first_page}` : ""}`);
    add(attempt.answered_at, attempt.remote_station_id ? `“${attempt.remote_station_id}” answers` : "They answer");
    moments.push(...confirmed(attempt));
    if (attempt.ended_at) {
      const isDelivered = attempt.outcome?.class === "delivered";
      const text = isDelivered ? "All pages through, call ended" : halves(attempt.outcome?.human ?? "Call ended")[0];
      add(attempt.ended_at, text, isDelivered ? "ok" : "bad");
    }
  }
  const ended = ENDED[fax.state];
  if (ended) add(fax.updated_at, ended);
  if (fax.state === "scheduled" && fax.schedule_at) moments.push({ at: fax.schedule_at, text: "Sent at this time", tone: "none", isAhead: true });
  if (fax.state === "waiting" && fax.next_try_at) {
    moments.push({ at: fax.next_try_at, text: `Call ${attempts.length + 1}`, tone: "wait", isAhead: true });
  }
  if (["queued", "waiting", "scheduled"].includes(fax.state)) {
    moments.push({ at: fax.deadline_at, text: "Given up, if it has not arrived by then", tone: "none", isAhead: true });
  }
  // The parts of a call can have the same time; their order is right already.
  return moments.sort((a, b) => Number(a.isAhead ?? false) - Number(b.isAhead ?? false) || Date.parse(a.at) - Date.parse(b.at));
}

/** More pages of one call than this are told together. */
const SINGLY = 5;

function confirmed({ pages }: Attempt): Moment[] {
  const last = pages.at(-1);
  if (last && pages.length > SINGLY) {
    return [{ at: last.confirmed_at, text: `Pages ${pages[0]?.page} to ${last.page} confirmed`, tone: "ok" }];
  }
  return pages.map(({ page, confirmed_at, duration_ms }) => {
    const took = duration_ms > 0 ? `, after ${(duration_ms / 1000).toFixed(1)} s` : "";
    return { at: confirmed_at, text: `Page ${page} confirmed${took}`, tone: "ok" as const };
  });
}

/** "14,400 bit/s · error correction": how a call travelled. */
export function travelled(attempt: Attempt): string {
  const ways: Record<string, string> = { t38: "T.38", audio: "audio", loopback: "own inbox", simulated: "simulator" };
  const parts = [
    attempt.transport && (ways[attempt.transport] ?? attempt.transport),
    attempt.bit_rate && `${attempt.bit_rate.toLocaleString("en")} bit/s`,
    attempt.ecm === true && "error correction",
    attempt.ecm === false && "no error correction",
  ];
  return parts.filter(Boolean).join(" · ");
}

/** Names of the codes below a sentence, for who looks further. */
export function codes(outcome: Schemas["Outcome"] | null | undefined): string {
  if (!outcome || outcome.class === "delivered") return "";
  const names: Record<string, string> = { sip: "SIP", q850: "Q.850", t30: "T.30", provider: "provider" };
  const detail = Object.entries(outcome.detail ?? {}).filter(([name, value]) => names[name] && value !== null);
  return [outcome.code, ...detail.map(([name, value]) => `${names[name]} ${String(value)}`)].join(" · ");
}
