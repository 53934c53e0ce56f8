// What can be done with many faxes at once: which of them a verb is for, how they are asked for one by one, and what
// is said in the end.
import { api } from "../../api/client";
import { asProblem, type Problem } from "../../api/problem";
import type { Fax } from "../../api/types";
import type { IconName } from "../../ui";
import { isCalling, isEnded } from "./states";

export type Verb = "cancel" | "hold" | "release" | "resend";

export interface Rights {
  send: boolean;
  hold: boolean;
}

interface Words {
  text: string;
  icon: IconName;
  doing: string;
  done: string;
}

export const VERBS: Record<Verb, Words> = {
  hold: { text: "Hold", icon: "pause", doing: "Holding", done: "held" },
  release: { text: "Release", icon: "play", doing: "Releasing", done: "released" },
  resend: { text: "Send again", icon: "refresh", doing: "Sending again", done: "sent again" },
  cancel: { text: "Cancel", icon: "close", doing: "Cancelling", done: "cancelled" },
};

/** Requests under way at a time: the appliance has others to answer. */
const AT_ONCE = 4;
/** Refusals that would meet all that is left as well: nobody there, nobody signed in, too much asked. */
const STOPPING = [0, 401, 429, 503];

/** Whether it is held until somebody has looked at its number. */
export function isToBeLookedAt(fax: Fax): boolean {
  return fax.state === "held" && fax.modifier === "second_look";
}

export function isFor(verb: Verb, fax: Fax, may: Rights): boolean {
  switch (verb) {
    case "cancel":
      return may.send && !isEnded(fax);
    case "hold":
      return may.hold && !isEnded(fax) && !isCalling(fax) && fax.state !== "held" && fax.state !== "preparing";
    case "release":
      return fax.state === "held" && (may.hold || (may.send && isToBeLookedAt(fax)));
    case "resend":
      return may.send && isEnded(fax) && !!fax.pages;
  }
}

/** Asks for it, and answers the fax as it is then; of a fax that is sent again, the new one. */
export function ask(verb: Verb, fax: Fax, order: string): Promise<Fax> {
  const path = `/fax/${fax.id}`;
  switch (verb) {
    case "cancel":
      return api.delete<Fax>(path);
    case "hold":
      return api.post<Fax>(`/admin/fax-jobs/${fax.id}/hold`);
    case "release":
      return api.post<Fax>(isToBeLookedAt(fax) ? `${path}/release` : `/admin/fax-jobs/${fax.id}/release`);
    case "resend":
      return api.post<Fax>(`${path}/resend`, {}, { headers: { "idempotency-key": order } });
  }
}

/** Runs it for each, a few at a time, until `goesOn` says no or nothing more can come of it; answers what failed. */
export async function forEach<T>(all: readonly T[], run: (one: T) => Promise<void>, goesOn: () => boolean): Promise<Problem[]> {
  const left = [...all];
  const problems: Problem[] = [];
  let isOver = false;
  const work = async () => {
    while (!isOver && goesOn()) {
      const one = left.shift();
      if (one === undefined) return;
      try {
        await run(one);
      } catch (error) {
        const problem = asProblem(error);
        problems.push(problem);
        isOver ||= STOPPING.includes(problem.status);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return problems;
}

/** One sentence about the end: "3 cancelled; 1 could not: why." */
export function ending(verb: Verb, asked: number, done: number, problems: readonly { message: string }[]): string {
  const untried = asked - done - problems.length;
  const parts = [`${done === 0 ? "None" : done.toLocaleString()} ${VERBS[verb].done}`];
  if (untried > 0) parts.push(`${untried.toLocaleString()} not tried`);
  if (problems.length === 0) return `${parts.join("; ")}.`;
  const counts = new Map<string, number>();
  for (const { message } of problems) counts.set(message, (counts.get(message) ?? 0) + 1);
  const [why, count] = [...counts].reduce((most, one) => (one[1] > most[1] ? one : most));
  const which = count === problems.length ? "" : `, ${count.toLocaleString()} of them`;
  return `${parts.join("; ")}; ${problems.length.toLocaleString()} could not${which}: ${why}`;
}
