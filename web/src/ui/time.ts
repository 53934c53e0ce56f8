const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const dayOfYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const sameDay = (a: Date, b: Date) => a.toDateString() === b.toDateString();

/** Local, as short as it can be without a doubt: today the time of day, this year with the day. */
export function shortTime(at: Date, now = new Date()): string {
  if (sameDay(at, now)) return clock.format(at);
  if (sameDay(at, new Date(now.getTime() - DAY))) return `yesterday ${clock.format(at)}`;
  if (at.getFullYear() === now.getFullYear()) return `${day.format(at)}, ${clock.format(at)}`;
  return `${dayOfYear.format(at)}, ${clock.format(at)}`;
}

/** "3 minutes ago", "in 2 hours". */
export function relativeTime(at: Date, now = new Date()): string {
  const distance = at.getTime() - now.getTime();
  const size = Math.abs(distance);
  if (size < 45_000) return distance > 0 ? "in a moment" : "just now";
  if (size < 45 * MINUTE) return relative.format(Math.round(distance / MINUTE), "minute");
  if (size < 22 * HOUR) return relative.format(Math.round(distance / HOUR), "hour");
  return relative.format(Math.round(distance / DAY), "day");
}

/** What a hover shows: the local time to the second, and UTC. */
export function exactTime(at: Date): string {
  return `${exact.format(at)} · ${at.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}
