// How a route stands, in words.
import type { Schemas } from "../../api/types";
import { relativeTime, shortTime } from "../../ui/time";
import type { Tone } from "../../ui/Tag.svelte";

export type Route = Schemas["Route"];

export function standing(route: Route, now: Date): { tone: Tone; text: string } {
  switch (route.state) {
    case "in_service":
      return { tone: "ok", text: "in service" };
    case "outside_hours":
      return { tone: "wait", text: `outside its hours${route.opens_at ? ` until ${dayAndTime(new Date(route.opens_at), now)}` : ""}` };
    case "out_of_service":
      return { tone: "bad", text: `out of service${route.out_since ? ` since ${shortTime(new Date(route.out_since), now)}` : ""}` };
    case "probing":
      return { tone: "on", text: "being tried" };
    default:
      return { tone: "none", text: route.state };
  }
}

/** What becomes of it, where that is not as ever. */
export function outlook(route: Route, now: Date): string | undefined {
  switch (route.state) {
    case "outside_hours":
      return "Faxes take the next line of their order, or wait for its hours.";
    case "out_of_service": {
      const next = route.next_probe_at ? relativeTime(new Date(route.next_probe_at), now) : "soon";
      return `Faxes take the next line of their order, or wait. Next try ${next}: one call is let through, and if it works the line is back.`;
    }
    case "probing":
      return "One call is let through now; if it works, the line is back.";
    default:
      return undefined;
  }
}

/** Who takes it: its place among the `placed` that are tried one after the other. */
export function takenBy(route: Route, placed: number): string {
  if (!route.place) return route.name === "simulator" ? "faxes of test keys alone" : "no faxes, it is not in their order";
  return placed === 1 ? "all faxes" : `all faxes, as number ${route.place} of ${placed} in their order`;
}

const weekday = new Intl.DateTimeFormat(undefined, { weekday: "short", hour: "2-digit", minute: "2-digit" });

/** Hours come again within a week: today the time is enough, else the day of the week. */
function dayAndTime(at: Date, now: Date): string {
  return at.toDateString() === now.toDateString() ? shortTime(at, now) : weekday.format(at);
}
