// The settings as the server tells of them, and what is said about each in plain words.
import { api } from "../../api/client";

export interface Setting {
  /** `section.key`, as in the configuration file. */
  key: string;
  section: string;
  value: string;
  default: string;
  source: "default" | "file" | "stored" | "environment" | "command_line";
  source_detail: string;
  stored: string | null;
  /** Something counts in place of what is changed here. */
  overridden: boolean;
  form: "truth" | "number" | "choice" | "text";
  choices: string[];
  allowed: string;
  env: string[];
  applies: "live" | "restart";
  /** Changed, and waits for the next start. */
  pending: boolean;
  changeable: boolean;
}

export interface Settings {
  settings: Setting[];
  secrets: { name: string; set: boolean }[];
  restart_needed: string[];
}

export interface SettingsChanged {
  changed: string[];
  overridden: { key: string; by: string }[];
  restart_needed: string[];
}

export const readSettings = () => api.get<Settings>("/admin/settings");

export const changeSettings = (values: Record<string, string | null>) => api.put<SettingsChanged>("/admin/settings", values);

/** What counts for this key now. */
export function valueIn({ settings }: Settings, key: string): string {
  return settings.find((setting) => setting.key === key)?.value ?? "";
}

/** Whether e-mail is sent at all. */
export function isMailOn(settings: Settings): boolean {
  return valueIn(settings, "mail.server") !== "" && valueIn(settings, "mail.from") !== "";
}

interface Words {
  label: string;
  hint?: string;
  /** The words of a choice, and of yes and no. */
  choices?: Record<string, { text: string; hint?: string }>;
  /** A few short choices stand beside each other. */
  beside?: boolean;
  unit?: string;
  rows?: number;
}

/** What people read in place of the keys. */
const WORDS: Record<string, Words> = {
  "support.contact": {
    label: "Whom people ask for help",
    hint: "A name with a telephone number or an e-mail address. It stands on the help pages.",
  },
  "line.route": {
    label: "Where faxes go",
    choices: {
      loopback: { text: "Into the own inbox", hint: "Loopback: each fax comes in again here. Nothing is dialled and nothing costs money." },
      simulator: { text: "To a simulated line", hint: "Scripted calls: delivered, busy, no answer and more, by the last digits of the number. For trying programs out." },
    },
  },
  "line.routes": { label: "Lines, in order", hint: "Where there are several: tried from left to right, with commas between. Nothing for the one above." },
  "line.calls": { label: "Calls at once on a line", hint: "Like simulator=4. A line that is not named has its own number." },
  "line.hours": { label: "Hours of a line", hint: "Like simulator=Wk2300-0800,Sat,Sun: faxes wait for them. Nothing is always." },
  "line.station_id": { label: "Own fax number", hint: "What the other machine's display shows: digits, spaces and +, up to 20." },
  "line.header": { label: "Name on top of each page", hint: "Up to 50 characters, such as the name of the office." },
  "line.country_code": { label: "Country", hint: "Numbers that are given without a country code belong to this one." },
  "line.station_id_check": {
    label: "When another machine answers",
    choices: {
      warn: { text: "Send, and say so", hint: "The fax shows what the machine calls itself now, and what it called itself until now." },
      hold: { text: "Hang up, and hold the fax", hint: "Before the first page. It goes once somebody has looked at the number." },
      off: { text: "Send" },
    },
  },
  "line.dials_per_hour": { label: "Calls in an hour", hint: "Of all faxes together; more wait for the next hour.", unit: "calls" },
  "line.minutes_per_day": { label: "Line time on a day", hint: "Of all faxes together; more wait for the next day.", unit: "minutes" },
  "security.require_api_key": {
    label: "Programs need an API key",
    hint: "Without it, any program on this machine may send faxes.",
  },
  "security.max_requests_per_minute": {
    label: "Requests of one key in a minute",
    hint: "MAX_REQUESTS_PER_MINUTE: a ceiling over all addresses. 0 is none.",
    unit: "requests",
  },
  "security.allow_bootstrap_key": {
    label: "The key in API_KEY still works",
    hint: "After there is an administrator, a key of its own for each program is safer.",
  },
  "security.allow_query_api_key": {
    label: "A key may stand in an address",
    hint: "?apikey=… for programs that can send no header. Addresses end up in logs and browser histories.",
  },
  "security.reveal_policy": {
    label: "Which keys can be shown again",
    choices: {
      never: { text: "None", hint: "A token is shown once, when it is made." },
      account: { text: "The account key alone" },
      per_key: { text: "Those that were made so", hint: "A key can be made recoverable; its token is kept sealed." },
    },
  },
  "security.max_file_size_mb": { label: "Largest document", hint: "A larger one is refused while it arrives.", unit: "MB" },
  "documents.max_pages": { label: "Longest fax", unit: "pages" },
  "documents.workers": { label: "Documents read at the same time", unit: "documents" },
  "documents.require_sandbox": {
    label: "Read documents only in a sandbox",
    hint: "Where the system cannot lock in the process that reads a document, the document is refused.",
  },
  "documents.cover_template": {
    label: "Cover page",
    hint: "With {{to.name}}, {{to.number}}, {{from.name}}, {{from.number}}, {{subject}}, {{pages}}, {{date}} and {{note}}. Empty is the built-in one.",
    rows: 8,
  },
  "storage.keep_sent_days": { label: "Keep sent faxes", hint: "After they ended, however they did. 0 is for ever.", unit: "days" },
  "storage.keep_received_days": { label: "Keep received faxes", hint: "0 is for ever.", unit: "days" },
  "storage.warn_percent": { label: "The disk is low when it is this full", unit: "percent" },
  "storage.stop_sends_percent": {
    label: "Nothing more is sent when it is this full",
    hint: "Faxes are still received.",
    unit: "percent",
  },
  "storage.when_low": {
    label: "When the disk is low",
    choices: {
      keep: { text: "Delete nothing", hint: "Somebody is told, and makes room." },
      delete_sent: { text: "Delete the oldest sent faxes", hint: "Those that ended over a day ago, until there is room." },
      delete_all: { text: "Delete the oldest faxes, received ones too", hint: "Until there is room." },
    },
  },
  "storage.data_dir": { label: "Folder of the documents", hint: "Set where the appliance is started; not changed here." },
  "audit.retention_days": { label: "Keep the audit log", hint: "Six years are 2192 days.", unit: "days" },
  "log.level": {
    label: "How much is logged",
    choices: { error: { text: "Errors" }, warn: { text: "Warnings" }, info: { text: "What happens" }, debug: { text: "Much" }, trace: { text: "Everything" } },
  },
  "webhooks.allow": {
    label: "Networks of your own that webhooks may lead to",
    hint: "Like 192.168.1.20, 10.0.0.0/8. Plain HTTP is possible to these alone. Empty is the public internet only.",
  },
  "mail.server": { label: "Mail server", hint: "Its name and port, like mail.example.org:587. Without one no mail is sent." },
  "mail.security": {
    label: "Way to the mail server",
    choices: {
      starttls: { text: "Encrypted after the greeting", hint: "STARTTLS, as most servers want it on port 587." },
      tls: { text: "Encrypted from the beginning", hint: "TLS, usual on port 465." },
      none: { text: "Not encrypted", hint: "To a mail server on this machine alone." },
    },
  },
  "mail.user": { label: "User name there", hint: "Empty where the mail server asks for no login." },
  "mail.from": { label: "Notices are from", hint: "An e-mail address, like fax@example.org." },
  "mail.to": { label: "Who is told", hint: "Up to 10 e-mail addresses with commas between." },
  "mail.notify": {
    label: "A notice of each fax",
    hint: "Who sends a fax can choose otherwise for it. Of one document to several numbers only the end of all is told.",
    beside: true,
    choices: {
      none: { text: "Never" },
      done: { text: "When it has ended" },
      requeued: { text: "When it will be tried again" },
      both: { text: "Both" },
    },
  },
  "mail.alerts_to": {
    label: "Told when the appliance needs somebody",
    hint: "E-mail addresses, for a line that fails, a limit that is reached, a full disk and the like. Empty for those who are told of faxes.",
  },
  "mail.show_numbers": { label: "Numbers stand whole in notices", hint: "Otherwise their last four digits: mail passes through many hands." },
  "server.listen": { label: "Programs on this machine", hint: "Address and port of plain HTTP." },
  "server.https_listen": { label: "People and other machines", hint: "Address and port of HTTPS; [::] is every address of this machine. Empty switches it off." },
  "server.host_names": {
    label: "Further names of this appliance",
    hint: "Names and addresses with commas between. Adding one makes a new local authority, which each device must trust anew.",
  },
  "server.tls_cert": { label: "Own certificate", hint: "Path of a PEM file on the appliance. Empty: it makes its certificate itself." },
  "server.tls_key": { label: "Private key of that certificate", hint: "Path of a PEM file on the appliance." },
  "server.allow_plain_http": {
    label: "Plain HTTP in the network",
    hint: "Lets programs elsewhere use API keys without encryption. People still need HTTPS.",
  },
  "server.max_connections": { label: "Connections at once", unit: "connections" },
  "server.metrics_listen": { label: "Metrics for Prometheus", hint: "Address and port like 127.0.0.1:9464. Empty switches them off." },
  "server.trusted_proxies": { label: "Proxies that are believed", hint: "Addresses or networks of proxies in front of the appliance, with commas between." },
};

/** The words for a setting; one that is new to the console shows its key. */
export function wordsOf(setting: Setting): Words {
  const own = WORDS[setting.key];
  return own ?? { label: setting.key, hint: `Allowed: ${setting.allowed}.` };
}

/** A value in words, for a sentence. */
export function inWords(setting: Setting, value: string): string {
  if (setting.form === "truth") return value === "true" ? "yes" : "no";
  const words = wordsOf(setting);
  return words.choices?.[value]?.text ?? (value === "" ? "nothing" : words.unit ? `${value} ${words.unit}` : value);
}

const PAGES = [
  ["general", "General", ["support.", "documents.", "log."]],
  ["line", "Line", ["line."]],
  ["reach", "Reaching it", ["server."]],
  ["security", "Security", ["security."]],
  ["numbers", "Numbers", []],
  ["retention", "Retention", ["storage.", "audit."]],
  ["webhooks", "Webhooks", ["webhooks."]],
  ["notices", "Notices", ["mail."]],
] as const;

export interface SettingsPage {
  id: string;
  title: string;
}

export const SETTINGS_PAGES: readonly SettingsPage[] = PAGES.map(([id, title]) => ({ id, title }));

/** The settings of one page; a section that has no page of its own is under General. */
export function settingsOf(page: string, all: readonly Setting[]): Setting[] {
  const home = (setting: Setting) => PAGES.find(([, , beginnings]) => beginnings.some((beginning) => setting.key.startsWith(beginning)))?.[0] ?? "general";
  const order = Object.keys(WORDS);
  const place = (setting: Setting) => (order.indexOf(setting.key) + 1 || order.length + 1);
  return all.filter((setting) => home(setting) === page).sort((a, b) => place(a) - place(b));
}
