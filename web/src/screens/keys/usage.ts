// Figures of use, by hour or gathered into days, with the empty ones between.
import { api } from "../../api/client";
import type { Usage } from "./types";

const HOUR_MS = 3600_000;

export interface Bar {
  /** Beginning of the hour, or of the day. */
  at: Date;
  ok: number;
  refused: number;
}

/** All hours or, in steps of more, the sums of them, oldest first, the one under way last. */
export function bars(usage: Usage, hours: number, step: number, now = new Date()): Bar[] {
  const end = (Math.floor(now.getTime() / HOUR_MS) + 1) * HOUR_MS;
  const count = Math.ceil(hours / step);
  const first = end - count * step * HOUR_MS;
  const list = Array.from({ length: count }, (_, at) => ({ at: new Date(first + at * step * HOUR_MS), ok: 0, refused: 0 }));
  for (const { hour, ...counts } of usage.hours) {
    const bar = list[Math.floor((Date.parse(String(hour)) - first) / (step * HOUR_MS))];
    if (!bar) continue;
    for (const [outcome, number] of Object.entries(counts)) bar[outcome === "ok" ? "ok" : "refused"] += Number(number);
  }
  return list;
}

const AT_ONCE = 4;
let running = 0;
const waiting: (() => void)[] = [];

async function inTurn<T>(run: () => Promise<T>): Promise<T> {
  if (running >= AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve));
  running++;
  try {
    return await run();
  } finally {
    running--;
    waiting.shift()?.();
  }
}

const KEPT_MS = 60_000;
const kept = new Map<string, { at: number; usage: Promise<Usage> }>();

/** The last day of one key, asked for when its row comes into sight, a few at a time. */
export function lastDay(id: string): Promise<Usage> {
  const known = kept.get(id);
  if (known && Date.now() - known.at < KEPT_MS) return known.usage;
  const usage = inTurn(() => api.get<Usage>(`/admin/api-keys/${id}/usage`, { hours: 24 }));
  kept.set(id, { at: Date.now(), usage });
  usage.catch(() => kept.delete(id));
  return usage;
}
