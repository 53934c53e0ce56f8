// People and service accounts, in words.
import type { Schemas } from "../../api/types";
import type { Tone } from "../../ui";

/** A later server tells the grants as well. */
export type User = Schemas["User"] & { grants?: string[] };

export const ROLES = [
  { value: "viewer", text: "Viewer", hint: "Looks at faxes and diagnostics, with numbers masked. Changes nothing." },
  { value: "operator", text: "Operator", hint: "Sends and receives faxes, and has keys of their own." },
  { value: "admin", text: "Administrator", hint: "Manages settings, all keys, and everybody below." },
  { value: "global_admin", text: "Global administrator", hint: "Manages everything, other administrators too." },
] as const;

export const roleText = (role: string) => ROLES.find((known) => known.value === role)?.text ?? role;
export const roleHint = (role: string) => ROLES.find((known) => known.value === role)?.hint ?? "";

/** The roles somebody may give: those below their own, or all of them for a global administrator. */
export function rolesFor(isGlobal: boolean) {
  return ROLES.filter((role) => isGlobal || ["viewer", "operator"].includes(role.value));
}

/** So many wrong passwords in a row make a next try wait noticeably. */
const LOCKED_FROM = 5;

export function standing(user: User): { tone: Tone; text: string } {
  if (user.status === "disabled") return { tone: "wait", text: "switched off" };
  if (user.kind === "service") return { tone: "none", text: "service account" };
  if (user.failed_tries >= LOCKED_FROM) return { tone: "bad", text: "has to wait" };
  if (!user.has_password) return { tone: "on", text: "invited" };
  if (user.must_change_password) return { tone: "on", text: "has a first password" };
  return { tone: "ok", text: "active" };
}
