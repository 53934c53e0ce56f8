// What is filled in to make or change a key, and what is sent of it.
import type { Key, Limits } from "./types";
import { everyScope, limitsOf, listOf, PRESETS, prefixesOf, sentence, spread, type Piece } from "./words";

const DAY_MS = 24 * 3600_000;
/** Days an admin key may live. */
export const ADMIN_DAYS = 90;

/** How long a key of this kind lives unless told otherwise. */
const LIVES: Record<string, string> = { production: "365", admin: "90" };

const everyday = PRESETS.find((preset) => preset.id === "both")?.scopes ?? [];
const NAMES = ["per_minute", "per_hour", "pages_per_day", "new_destinations_per_day"] as const;

export type LimitName = (typeof NAMES)[number];

export class KeyForm {
  name = $state("");
  note = $state("");
  kind = $state("production");
  scopes: string[] = $state([]);
  /** Name of an account; empty is one's own, `+` a new service account. */
  owner = $state("");
  newOwner = $state("");
  /** Days, `never` or `date`. */
  life = $state("365");
  date = $state("");
  addresses = $state("");
  prefixes = $state("");
  origins = $state("");
  limits: Record<LimitName, string> = $state({ per_minute: "", per_hour: "", pages_per_day: "", new_destinations_per_day: "" });
  allJobs = $state(false);
  recoverable = $state(false);
  /** What was wrong before anything was sent. */
  missing: Record<string, string> = $state({});

  constructor(mine: readonly string[]) {
    const own = spread(mine);
    this.scopes = everyday.filter((scope) => own.includes(scope));
  }

  static of(key: Key): KeyForm {
    const form = new KeyForm([]);
    form.name = key.name;
    form.note = key.note ?? "";
    form.kind = key.kind;
    form.scopes = spread(key.scopes);
    form.owner = key.owner;
    form.life = key.expires_at ? "date" : "never";
    form.date = key.expires_at ? localDay(new Date(key.expires_at)) : "";
    form.addresses = key.ip_allow.join("\n");
    form.prefixes = key.resources.to_prefixes.join("\n");
    form.origins = key.allowed_origins.join("\n");
    const usual = limitsOf(key.kind);
    for (const name of NAMES) if (key.limits[name] !== usual[name]) form.limits[name] = String(key.limits[name] ?? "");
    form.allJobs = key.resources.all_jobs;
    form.recoverable = key.recoverable;
    return form;
  }

  setKind(kind: string) {
    this.life = this.life === "date" ? this.life : (LIVES[kind] ?? "90");
    this.kind = kind;
  }

  get expires(): Date | null {
    if (this.life === "never") return null;
    if (this.life === "date") return this.date ? new Date(`${this.date}T23:59:59`) : null;
    return new Date(Date.now() + Number(this.life) * DAY_MS);
  }

  get sentence(): Piece[] {
    return sentence({
      kind: this.kind,
      scopes: this.scopes,
      prefixes: prefixesOf(this.prefixes),
      addresses: listOf(this.addresses),
      allJobs: this.allJobs,
      expires: this.expires,
      perMinute: Number(this.limits.per_minute) || limitsOf(this.kind).per_minute,
    });
  }

  /** Notes what is missing; true when nothing is. */
  check(): boolean {
    const missing: Record<string, string> = {};
    if (!this.name.trim()) missing.name = "Give it a name that tells what it is for.";
    if (this.kind !== "admin" && this.scopes.length === 0) missing.scopes = "Choose at least one thing it may do.";
    if (this.life === "date" && !this.date) missing.expires_at = "Choose a day.";
    if (this.owner === "+" && !this.newOwner.trim()) missing.owner = "Give the service account a name.";
    const wrong = prefixesOf(this.prefixes).find((prefix) => !/^\+\d{1,15}$/.test(prefix));
    if (wrong) missing.resources = `“${wrong}” is not the beginning of a number. Write + and digits, like +1 555.`;
    for (const name of NAMES) if (!/^\d*$/.test(this.limits[name].trim())) missing.limits = "Limits are whole numbers.";
    const bounded = this.life !== "never" || listOf(this.addresses).length > 0 || prefixesOf(this.prefixes).length > 0;
    if (this.kind === "restricted" && !bounded) missing.resources ??= "A restricted key needs numbers, addresses or an end.";
    this.missing = missing;
    return Object.keys(missing).length === 0;
  }

  #own(): Limits {
    const given = NAMES.filter((name) => this.limits[name].trim());
    return Object.fromEntries(given.map((name) => [name, Number(this.limits[name])]));
  }

  /** The body of a new key. */
  get body(): Record<string, unknown> {
    const owner = this.owner === "+" ? this.newOwner.trim() : this.owner;
    return {
      name: this.name.trim(),
      kind: this.kind,
      note: this.note.trim() || null,
      ...(owner && { owner }),
      ...(this.kind !== "admin" && { scopes: this.scopes }),
      expires_at: this.expires?.toISOString() ?? null,
      ip_allow: listOf(this.addresses),
      resources: { to_prefixes: prefixesOf(this.prefixes), ...(this.allJobs && { all_jobs: true }) },
      ...(this.kind === "restricted" && { allowed_origins: listOf(this.origins) }),
      limits: this.#own(),
      recoverable: this.recoverable,
    };
  }

  /** What of a key is different now, as a merge patch. */
  patch(key: Key): Record<string, unknown> {
    const now = this.body;
    const before = KeyForm.of(key).body;
    const patch: Record<string, unknown> = {};
    for (const field of ["name", "note", "scopes", "ip_allow", "allowed_origins"]) {
      if (field in now && !same(now[field], before[field])) patch[field] = now[field];
    }
    // A day that was not touched keeps its hour.
    if (this.life !== (key.expires_at ? "date" : "never") || (this.life === "date" && !same(now.expires_at, before.expires_at))) {
      patch.expires_at = now.expires_at;
    }
    const resources = { to_prefixes: prefixesOf(this.prefixes), all_jobs: this.allJobs };
    if (!same(resources, { to_prefixes: key.resources.to_prefixes, all_jobs: key.resources.all_jobs })) patch.resources = resources;
    const own = this.#own();
    if (!same(own, before.limits)) patch.limits = Object.fromEntries(NAMES.map((name) => [name, own[name] ?? null]));
    return patch;
  }
}

const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);

/** The day in the person's own time, as a date field takes it. */
export function localDay(at: Date): string {
  const two = (number: number) => String(number).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

/** Scopes somebody may give away, of all there are. */
export function ownScopes(mine: readonly string[]): Set<string> {
  return new Set(mine.includes("admin") ? everyScope : mine);
}
