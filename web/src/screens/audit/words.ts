// What a row of the audit log says, in words.
import type { Schemas } from "../../api/types";
import { showNumber } from "../jobs/states";

export type Row = Schemas["AuditRow"];

/** Each action by what somebody did. */
export const ACTIONS: Readonly<Record<string, string>> = {
  "api_key.created": "made a key",
  "api_key.imported": "took a key over",
  "api_key.rotated": "gave a key a new secret",
  "api_key.previous_ended": "ended a key’s old secret",
  "api_key.revoked": "revoked a key",
  "api_key.disabled": "switched a key off",
  "api_key.enabled": "switched a key on",
  "api_key.changed": "changed a key",
  "api_key.revealed": "looked at a key’s token",
  "api_key.identified": "asked whose a token is",
  "api_key.hidden": "took a key off the list",
  "user.created": "made a user",
  "user.changed": "changed a user",
  "user.disabled": "switched a user off",
  "user.enabled": "switched a user on",
  "user.removed": "removed a user",
  "user.password_changed": "changed a password",
  "user.second_factor_changed": "changed a second factor",
  "service_account.created": "made a service account",
  "service_account.changed": "changed a service account",
  "setup.link_made": "made a set-up link",
  "session.started": "signed in",
  "session.confirmed": "entered the password again",
  "session.ended": "signed out",
  "settings.changed": "changed settings",
  "policy.changed": "changed which numbers may be called",
  "dialling.paused": "paused all dialling",
  "route.restored": "put a line back into service",
  "dialling.resumed": "let dialling go on",
  "certificate.changed": "changed the certificate",
  "seal.recovery_key_made": "made the recovery key",
  "seal.rewrapped": "replaced the sealing key",
  "seal.recovered": "used the recovery key",
  "store.restored": "restored a backup",
  "store.imported": "took over another system",
  "fax.cancelled": "cancelled a fax",
  "fax.altered": "changed a fax",
  "fax.held": "held a fax",
  "fax.released": "let a held fax go",
  "fax.resent": "sent a fax again",
  "fax.deleted": "deleted a fax",
  "fax.settled": "saw to a fax",
  "inbound.changed": "changed a received fax",
  "inbound.forwarded": "forwarded a received fax",
  "inbound.deleted": "deleted a received fax",
  "content.viewed": "looked at pages",
  "webhook.created": "made a webhook",
  "webhook.changed": "changed a webhook",
  "webhook.rotated": "gave a webhook a new secret",
  "webhook.removed": "removed a webhook",
  "webhook.replayed": "had a webhook told again",
  "audit.exported": "exported the audit log",
  "audit.pruned": "removed old rows of the audit log",
  "audit.broken": "found the audit log broken",
  "audit.damage_accepted": "took note of damage to the audit log",
};

/** What was done; an action that is new to the console by its own name. */
export const actionWords = (action: string) => ACTIONS[action] ?? action;

/** Names of accounts and keys by their ids. */
export interface Names {
  accounts: ReadonlyMap<string, string>;
  keys: ReadonlyMap<string, string>;
}

/** Who did it. */
export function actorWords(actor: string, names: Names): string {
  const [kind = "", id = ""] = divide(actor);
  if (kind === "user") return id;
  if (kind === "key") return names.keys.get(id) ? `${names.keys.get(id)} (key)` : `key ${id}`;
  if (kind === "cli") return id === "0" ? "root, on the appliance" : `user ${id} of the appliance’s system`;
  if (kind === "system") return "the appliance itself";
  return actor;
}

/** To which thing, and where it can be looked at. */
export function targetWords(target: string, names: Names): { text: string; path?: string } {
  const [kind = "", id = ""] = divide(target);
  switch (kind) {
    case "account":
      return { text: names.accounts.get(id) ?? `account ${id.slice(-6)}` };
    case "api_key":
      return { text: names.keys.get(id) ?? `key ${id}`, path: `/keys/${id}` };
    case "fax":
    case "job":
      return { text: `fax …${id.slice(-6)}`, path: `/jobs/${id}` };
    case "inbound":
      return { text: `received fax …${id.slice(-6)}`, path: `/inbox/${id}` };
    case "webhook":
      return { text: `webhook …${id.slice(-6)}`, path: "/settings/webhooks" };
    case "settings":
    case "setting":
      return { text: "settings", path: "/settings" };
    case "range":
    case "policy":
    case "number":
      return { text: /^\+?\d+$/.test(id) ? showNumber(id.startsWith("+") ? id : `+${id}`) : id || "numbers", path: "/settings/numbers" };
    default:
      return { text: target };
  }
}

function divide(text: string): string[] {
  const at = text.indexOf(":");
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

export interface Change {
  field: string;
  before: string | undefined;
  after: string | undefined;
}

/** What is different, field by field. */
export function changes(row: Pick<Row, "before" | "after">): Change[] {
  const before = asObject(row.before);
  const after = asObject(row.after);
  const fields = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return fields.map((field) => ({
    field,
    before: field in before ? inText(before[field]) : undefined,
    after: field in after ? inText(after[field]) : undefined,
  }));
}

function asObject(value: unknown): Record<string, unknown> {
  if (value === null || value === undefined) return {};
  return typeof value === "object" && !Array.isArray(value) ? (value as Record<string, unknown>) : { value };
}

function inText(value: unknown): string {
  if (value === null || value === undefined || value === "") return "nothing";
  if (value === true) return "yes";
  if (value === false) return "no";
  if (Array.isArray(value)) return value.length === 0 ? "none" : value.map(inText).join(", ");
  if (typeof value === "object") {
    const entries = Object.entries(value).filter(([, inside]) => inside !== null);
    return entries.length === 0 ? "none" : entries.map(([name, inside]) => `${name}: ${inText(inside)}`).join("; ");
  }
  return String(value);
}

/** The beginning of a day that a person chose, or of the day after it, as the API takes it. */
export function dayStart(day: string, after = 0): string | undefined {
  const found = /^(\d{4})-(\d{2})-(\d{2})$/.exec(day);
  if (!found) return undefined;
  return new Date(Number(found[1]), Number(found[2]) - 1, Number(found[3]) + after).toISOString();
}
