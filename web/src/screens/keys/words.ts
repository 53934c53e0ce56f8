// Keys in plain words: what they may do, what kind they are, what all of it comes to in one sentence.
import type { Tone } from "../../ui";
import type { Key, Limits } from "./types";

export interface Scope {
  name: string;
  /** On its switch. */
  text: string;
  /** In a sentence after "can". */
  says: string;
  group: "faxes" | "inbox" | "addresses" | "administration";
}

export const SCOPES: readonly Scope[] = [
  { name: "fax:send", text: "Send faxes", says: "send faxes", group: "faxes" },
  { name: "fax:read", text: "Read its own faxes", says: "read its own faxes", group: "faxes" },
  { name: "fax:cancel", text: "Cancel faxes", says: "cancel faxes", group: "faxes" },
  { name: "fax:route", text: "Choose route and sender", says: "choose route and sender", group: "faxes" },
  { name: "inbound:list", text: "See what was received", says: "see the inbox", group: "inbox" },
  { name: "inbound:read", text: "Read received faxes", says: "read received faxes", group: "inbox" },
  { name: "inbound:manage", text: "Assign and delete them", says: "assign and delete received faxes", group: "inbox" },
  { name: "contacts:read", text: "Read the address book", says: "read the address book", group: "addresses" },
  { name: "contacts:manage", text: "Change the address book", says: "change the address book", group: "addresses" },
  { name: "webhooks:manage", text: "Manage webhooks", says: "manage webhooks", group: "administration" },
  { name: "keys:read", text: "List keys", says: "list keys", group: "administration" },
  { name: "keys:manage", text: "Make and revoke keys", says: "make and revoke keys", group: "administration" },
  { name: "keys:reveal", text: "See tokens again", says: "see tokens again", group: "administration" },
  { name: "users:manage", text: "List users", says: "list users", group: "administration" },
  { name: "settings:read", text: "Read settings", says: "read settings", group: "administration" },
  { name: "settings:write", text: "Change settings", says: "change settings", group: "administration" },
  { name: "diagnostics:read", text: "Read diagnostics", says: "read diagnostics", group: "administration" },
  { name: "audit:read", text: "Read the audit log", says: "read the audit log", group: "administration" },
];

export const GROUPS: readonly { id: Scope["group"]; title: string }[] = [
  { id: "faxes", title: "Faxes" },
  { id: "inbox", title: "Inbox" },
  { id: "addresses", title: "Address book" },
  { id: "administration", title: "Administration" },
];

/** Sets of scopes most programs need. */
export const PRESETS: readonly { id: string; text: string; scopes: readonly string[] }[] = [
  { id: "send", text: "Send", scopes: ["fax:send", "fax:read", "fax:cancel"] },
  { id: "both", text: "Send and receive", scopes: ["fax:send", "fax:read", "fax:cancel", "inbound:list", "inbound:read"] },
  { id: "look", text: "Only look", scopes: ["fax:read", "inbound:list", "inbound:read"] },
];

export const everyScope = SCOPES.map((scope) => scope.name);

/** The single scopes of what the server shortens to `admin`. */
export function spread(scopes: readonly string[]): string[] {
  return scopes.includes("admin") ? everyScope : [...scopes];
}

export interface KindWords {
  id: string;
  text: string;
  hint: string;
  limits: Required<Limits>;
}

const DAILY = { pages_per_day: 200, new_destinations_per_day: 20 };
const FEW = { per_minute: 60, per_hour: 1000, ...DAILY };
const MANY = { per_minute: 600, per_hour: 10_000, ...DAILY };

export const KINDS: readonly KindWords[] = [
  { id: "production", text: "Production", hint: "For a program at work. Sends for real.", limits: MANY },
  { id: "restricted", text: "Restricted", hint: "Only from some addresses, to some numbers, or until a date.", limits: FEW },
  { id: "development", text: "Development", hint: "For trying out: its faxes go to the simulator, never to a line.", limits: FEW },
  { id: "admin", text: "Admin", hint: "May do everything, for 90 days at most. Asks for your password.", limits: MANY },
];

export function limitsOf(kind: string): Required<Limits> {
  return KINDS.find((known) => known.id === kind)?.limits ?? MANY;
}

/** What a list says of a key's rights, in a few words. */
export function shortRights(key: Pick<Key, "scopes" | "resources">): string {
  if (key.scopes.includes("admin")) return "everything";
  const has = (scope: string) => key.scopes.includes(scope);
  const words = [];
  if (has("fax:send")) words.push(key.resources.to_prefixes.length > 0 ? `send to ${some(key.resources.to_prefixes)}` : "send");
  if (has("fax:read")) words.push(key.resources.all_jobs ? "read all faxes" : "read");
  if (has("inbound:read") || has("inbound:list")) words.push("inbox");
  const rest = key.scopes.filter((scope) => !/^(fax:(send|read|cancel)|inbound:)/.test(scope)).length;
  if (rest > 0) words.push(words.length > 0 ? `${rest} more` : `${rest} ${rest === 1 ? "right" : "rights"}`);
  if (words.length === 0) return key.scopes.map((scope) => SCOPES.find((known) => known.name === scope)?.says ?? scope).join(", ");
  return words.join(", ");
}

const some = (list: readonly string[]) => (list.length > 2 ? `${list[0]} and ${list.length - 1} more` : list.join(" or "));

export function tokenBegin(key: { key_id: string; kind: string }): string {
  return `fbk_${key.kind === "development" ? "test" : "live"}_${key.key_id.slice(0, 4)}…`;
}

export interface Standing {
  tone: Tone;
  text: string;
}

const STANDINGS: Record<string, Standing> = {
  active: { tone: "ok", text: "works" },
  disabled: { tone: "wait", text: "switched off" },
  owner_disabled: { tone: "wait", text: "owner switched off" },
  expired: { tone: "bad", text: "expired" },
  revoked: { tone: "none", text: "revoked" },
};

export function standing(status: string): Standing {
  return STANDINGS[status] ?? { tone: "none", text: status };
}

export const hasEnded = (key: Key) => key.status === "revoked" || key.status === "expired";

const DAY = 24 * 3600_000;
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const dateOfYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });

export function shortDate(at: Date, now = new Date()): string {
  return (at.getFullYear() === now.getFullYear() ? date : dateOfYear).format(at);
}

/** The badge of a key's end. */
export function expiry(expiresAt: string | null | undefined, now = new Date()): Standing {
  if (!expiresAt) return { tone: "wait", text: "never" };
  const end = new Date(expiresAt);
  const days = (end.getTime() - now.getTime()) / DAY;
  if (days <= 0) return { tone: "bad", text: `${shortDate(end, now)}` };
  if (days < 1) return { tone: "bad", text: "within a day" };
  if (days < 8) return { tone: "bad", text: `in ${Math.ceil(days)} days` };
  if (days < 31) return { tone: "wait", text: `in ${Math.ceil(days)} days` };
  return { tone: "none", text: shortDate(end, now) };
}

/** A piece of a sentence; the strong ones are what was chosen. */
export interface Piece {
  text: string;
  strong?: boolean;
}

export interface Wish {
  kind: string;
  scopes: readonly string[];
  prefixes: readonly string[];
  addresses: readonly string[];
  allJobs: boolean;
  expires: Date | null;
  perMinute: number;
}

function joined(parts: readonly string[]): string {
  return parts.length < 2 ? parts.join("") : `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`;
}

/** What the key that is being made will be able to do, in one sentence. */
export function sentence(wish: Wish, now = new Date()): Piece[] {
  const pieces: Piece[] = [];
  const say = (text: string, strong = false) => pieces.push({ text, strong });
  if (wish.kind === "admin") {
    say("Can do ");
    say("everything", true);
  } else if (wish.scopes.length === 0) {
    return [{ text: "Can do nothing yet: choose what it may do." }];
  } else {
    say("Can ");
    const words = SCOPES.filter((scope) => wish.scopes.includes(scope.name)).map((scope) =>
      scope.name === "fax:read" && wish.allJobs ? "read everybody’s faxes" : scope.says,
    );
    say(words.length > 5 ? `${words.slice(0, 4).join(", ")} and ${words.length - 4} more` : joined(words), true);
  }
  if (wish.prefixes.length > 0 && (wish.kind === "admin" || wish.scopes.includes("fax:send"))) {
    say(", to numbers beginning with ");
    say(joined(wish.prefixes), true);
  }
  if (wish.addresses.length > 0) {
    say(", from ");
    say(joined(wish.addresses), true);
  } else say(", from anywhere");
  if (wish.expires) {
    say(", until ");
    say(shortDate(wish.expires, now), true);
  } else say(", with no end");
  say(`, up to ${wish.perMinute.toLocaleString("en")} times a minute.`);
  if (wish.kind === "development") say(" Its faxes go to the simulator.");
  return pieces;
}

/** Lines or commas, as people write lists. */
export function listOf(text: string): string[] {
  return text.split(/[\n,;]+/).map((part) => part.trim()).filter(Boolean);
}

/** A beginning of a number without what people put between digits. */
export function prefixesOf(text: string): string[] {
  return listOf(text).map((part) => part.replace(/[\s()./-]/g, "").replace(/^00/, "+"));
}

/** What came of requests, for those who never saw the code. */
export const OUTCOMES: Record<string, string> = {
  ok: "let in",
  scope: "refused: a right was missing",
  resource: "refused: outside its numbers",
  rate_limited: "refused: too many requests",
  quota: "refused: quota of the day",
  ip_denied: "refused: another address",
  expired: "refused: expired",
  revoked: "refused: revoked",
  disabled: "refused: switched off",
  owner_disabled: "refused: owner switched off",
  not_yet_valid: "refused: not valid yet",
  bad_secret: "refused: wrong secret",
  checksum: "refused: mistyped",
  in_query: "refused: in a URL",
};

const list = (value: unknown) => (Array.isArray(value) ? value.join(", ") : String(value ?? ""));
const FIELDS: Record<string, string> = {
  ip_allow: "addresses",
  to_prefixes: "numbers",
  resources: "numbers",
  expires_at: "end",
  not_before: "beginning",
  allowed_origins: "web pages",
  scopes: "rights",
};

/** An event of a key's history, in words. */
export function eventWords(type: string, data: Record<string, unknown>): string {
  switch (type.replace(/^api_key\./, "")) {
    case "created":
      return "Made";
    case "changed":
      return `Changed: ${list(Array.isArray(data.fields) ? data.fields.map((field) => FIELDS[String(field)] ?? field) : "")}`;
    case "rotated":
      return data.previous_valid_until ? "New secret; the old one in its grace" : "New secret; the old one ended at once";
    case "previous_ended":
      return "The old secret was ended";
    case "disabled":
      return "Switched off";
    case "enabled":
      return "Switched on again";
    case "revealed":
      return "Token shown again";
    case "revoked":
      return data.compromised ? "Revoked as compromised" : "Revoked";
    case "new_address":
      return `Used from a new address, ${String(data.address)}`;
    case "expiring":
      return "Warned that its end is near";
    case "seen_in_url":
      return "Seen in a URL, where logs may keep it";
    default:
      return type;
  }
}

/** Who did it, without the kind of account before the name. */
export function byWords(by: unknown): string {
  return String(by ?? "").replace(/^(user|session|account|key):/, "");
}
