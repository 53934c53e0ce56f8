// `GET /admin/summary`: how the day stands and what needs a person.
import type { Schemas } from "../../api/types";

export interface Action {
  /** `release resend settle cancel resume replay clean verify look` */
  name: string;
  label: string;
  method: string;
  path: string;
}

export interface AttentionItem {
  id: string;
  label: string;
  sentence: string;
  at: string | null;
  actions: Action[];
}

export interface Attention {
  kind: string;
  severity: "error" | "warning" | "notice";
  sentence: string;
  count: number;
  at: string | null;
  items: AttentionItem[];
  actions: Action[];
}

export interface Summary {
  version: string;
  now: string;
  started_at: string;
  uptime_s: number;
  /** Whose faxes are counted. */
  of: "all" | "own";
  since: string;
  ended: { delivered: number; partial: number; failed: number; expired: number; cancelled: number; pages: number; first_try_percent: number | null };
  open: { waiting: number; under_way: number; scheduled: number; held: number };
  received: { faxes: number; pages: number; unread: number } | null;
  dialling: Schemas["DiallingView"];
  disk: { level: string; used_percent: number; available_bytes: number; total_bytes: number };
  certificate: { ends_at: string; days_left: number; renews_itself: boolean } | null;
  attention: Attention[];
}

/** The day begins where the person is, not in Greenwich. */
export function midnight(now: Date): string {
  return new Date(now.getFullYear(), now.getMonth(), now.getDate()).toISOString();
}

export function greeting(now: Date): string {
  const hour = now.getHours();
  if (hour < 5 || hour >= 18) return "Good evening";
  return hour < 12 ? "Good morning" : "Good afternoon";
}

/** "12 GB". */
export function gigabytes(bytes: number): string {
  const size = bytes / 1e9;
  return size < 10 ? `${size.toFixed(1)} GB` : `${Math.round(size)} GB`;
}

/** Where in the console one sees to this kind of thing. */
export function place(kind: string): string | undefined {
  const places: Record<string, string> = {
    sealed: "/diagnostics",
    audit_damaged: "/audit",
    route_out_of_service: "/diagnostics/routes",
    storage_full: "/settings",
    storage_low: "/settings",
    faxes_failed: "/jobs?status=FAILED",
    faxes_held: "/jobs?status=held",
    webhook_given_up: "/settings",
    mail_given_up: "/settings/notices",
    certificate_ending: "/settings",
    keys_ending: "/keys",
    no_recovery_key: "/settings",
  };
  return places[kind];
}

/** Where one thing that needs a person is looked at. */
export function itemPlace(kind: string, id: string): string | undefined {
  if (kind.startsWith("faxes_")) return `/jobs/${id}`;
  if (kind === "keys_ending") return `/keys/${id}`;
  return place(kind);
}

/**
 * The faxes on the line before those that wait. The two lists were read a moment apart, so one that went from one to the
 * other in between can be in both; it is shown once, as it is on the line.
 */
export function underWay<T extends { id: string }>(onTheLine: readonly T[], waiting: readonly T[]): T[] {
  const calling = new Set(onTheLine.map((fax) => fax.id));
  return [...onTheLine, ...waiting.filter((fax) => !calling.has(fax.id))];
}
