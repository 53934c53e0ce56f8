// The types of the API by the names they have in its description, for all screens.
import type { Schemas } from "./schema";

export type { Schemas };
export type Fax = Schemas["Fax"];
export type FaxList = Schemas["FaxList"];
export type AdminFaxList = Schemas["AdminFaxList"];
export type Outcome = Schemas["Outcome"];
export type SessionInfo = Schemas["SessionInfo"];
export type AppEvent = Schemas["Event"];

/** Rows of the table of rights; what a session does not have gets no button. */
export type Right =
  | "account_key:generate"
  | "account_key:reset"
  | "account_key:show"
  | "admin_keys:manage"
  | "administrators:manage"
  | "tls:manage"
  | "reveal_policy:manage"
  | "audit:export"
  | "all_keys:manage"
  | "users:manage"
  | "settings:manage"
  | "all_jobs:read"
  | "own_keys:manage"
  | "fax:send"
  | "inbound:manage"
  | "numbers:read"
  | "jobs:read"
  | "diagnostics:read";
