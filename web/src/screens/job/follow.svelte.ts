// One fax and its calls, kept up to date while they are looked at.
import { api } from "../../api/client";
import { connection } from "../../api/connection.svelte";
import { live } from "../../api/live.svelte";
import { asProblem, type Problem } from "../../api/problem";
import type { Fax, Schemas } from "../../api/types";
import type { Attempt } from "./timeline";

/** How long events are gathered before the fax is read again. */
const GATHER_MS = 120;

export class Followed {
  fax: Fax | undefined = $state.raw();
  attempts: Attempt[] = $state.raw([]);
  problem: Problem | undefined = $state.raw();
  rungs: Schemas["TraceEntry"][] = $state.raw([]);
  /** Number of the call whose signals are shown; the newest unless somebody chose. */
  picked: number | undefined = $state();
  readonly shown = $derived(this.picked ?? this.attempts.at(-1)?.number);
  readonly id: string;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #abort = new AbortController();

  constructor(id: string) {
    this.id = id;
  }

  /** For an `$effect`: reads, and reads again whatever happens to it. */
  follow(): () => void {
    void this.read();
    const offs = [
      live.on("fax.", (event) => event.subject === this.id && this.#soon()),
      // Whether it waits for others, or for dialling to go on.
      live.on("dialling.", () => this.#soon()),
      connection.onBack(() => void this.read()),
    ];
    return () => {
      for (const off of offs) off();
      clearTimeout(this.#timer);
      this.#abort.abort();
    };
  }

  #soon() {
    this.#timer ??= setTimeout(() => void this.read(), GATHER_MS);
  }

  async read() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const { signal } = this.#abort;
    try {
      const path = `/fax/${encodeURIComponent(this.id)}`;
      const [fax, attempts] = await Promise.all([
        api.get<Fax>(path, undefined, { signal }),
        api.get<Attempt[]>(`${path}/attempts`, undefined, { signal }),
      ]);
      if (signal.aborted) return;
      this.fax = fax;
      this.attempts = attempts;
      this.problem = undefined;
      await this.#readTrace();
    } catch (error) {
      if (!signal.aborted) this.problem = asProblem(error);
    }
  }

  async choose(number: number) {
    this.picked = number;
    await this.#readTrace().catch(() => undefined);
  }

  async #readTrace() {
    const number = this.shown;
    if (number === undefined) {
      this.rungs = [];
      return;
    }
    const { signal } = this.#abort;
    const path = `/fax/${encodeURIComponent(this.id)}/attempts/${number}/trace`;
    const rungs = await api.get<Schemas["TraceEntry"][]>(path, undefined, { signal });
    if (!signal.aborted && number === this.shown) this.rungs = rungs;
  }
}
