// Whether the appliance answers. Looks for it by itself as long as it does not.

const FIRST_LOOK_MS = 1000;
const LONGEST_MS = 10_000;
const LOOK = `${document.querySelector<HTMLMetaElement>('meta[name="pagewire-prefix"]')?.content ?? ""}/health`;

class Connection {
  /** False shows the banner. */
  isUp = $state(true);
  #back = new Set<() => void>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    addEventListener("online", () => this.isUp || this.#look(FIRST_LOOK_MS));
  }

  /** Runs whenever the appliance answers again: what was missed is read anew. */
  onBack(run: () => void): () => void {
    this.#back.add(run);
    return () => this.#back.delete(run);
  }

  lost() {
    if (!this.isUp) return;
    this.isUp = false;
    this.#wait(FIRST_LOOK_MS);
  }

  reached() {
    if (this.isUp) return;
    clearTimeout(this.#timer);
    this.isUp = true;
    for (const run of this.#back) run();
  }

  #wait(ms: number) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(Math.min(ms * 1.7, LONGEST_MS)), ms);
  }

  async #look(next: number) {
    try {
      const answer = await fetch(LOOK, { cache: "no-store" });
      // A proxy that finds nobody behind it answers 502 to 504.
      if (answer.status < 502 || answer.status > 504) return this.reached();
    } catch {
      // Still away.
    }
    if (!this.isUp) this.#wait(next);
  }
}

export const connection = new Connection();
