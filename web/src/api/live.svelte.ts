// What happens on the appliance, as it happens: one stream for all screens.
import { address, api } from "./client";
import { connection } from "./connection.svelte";
import { asProblem } from "./problem";
import { session } from "./session.svelte";
import type { AppEvent, Schemas, SessionInfo } from "./types";

/** A page that nobody looks at gives its connection back after this long. */
const HIDDEN_MS = 60_000;
/** A stream that breaks at once is not opened again at once. */
const AGAIN_MS = 2000;

type Handler = (event: AppEvent) => void;

interface Listener {
  /** `fax.`, `inbound.received` … */
  beginning: string;
  handler: Handler;
}

class Live {
  #listeners = new Set<Listener>();
  #stream: EventSource | undefined;
  #place: string | undefined;
  #isStarting = false;
  #hidden: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    document.addEventListener("visibilitychange", () => {
      clearTimeout(this.#hidden);
      if (document.hidden) this.#hidden = setTimeout(() => this.stop(), HIDDEN_MS);
      else this.start();
    });
    connection.onBack(() => this.start());
  }

  /** Calls the handler with each event whose type begins so, until the answer is called. */
  on(beginning: string, handler: Handler): () => void {
    const listener = { beginning, handler };
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  start() {
    if (this.#stream || this.#isStarting || !session.info || document.hidden) return;
    this.#isStarting = true;
    void this.#open().finally(() => (this.#isStarting = false));
  }

  async #open() {
    if (this.#place === undefined) {
      // The place before the first lists are read, so that nothing falls between.
      const newest = { after: Number.MAX_SAFE_INTEGER, limit: 1 };
      const list = await api.get<Schemas["EventList"]>("/events", newest).catch(() => undefined);
      if (!list) return;
      this.#place = String(list.next_after);
    }
    const stream = new EventSource(address("/events/stream", { after: this.#place }));
    this.#stream = stream;
    stream.onmessage = (message: MessageEvent<string>) => {
      this.#place = message.lastEventId || this.#place;
      const event = JSON.parse(message.data) as AppEvent;
      for (const { beginning, handler } of this.#listeners) if (event.type.startsWith(beginning)) handler(event);
    };
    stream.onerror = () => void this.#broken(stream);
  }

  stop() {
    this.#stream?.close();
    this.#stream = undefined;
  }

  /** A browser tells nothing of why: ask. The browser's own attempts are ended, to know where we are. */
  async #broken(stream: EventSource) {
    if (this.#stream !== stream) return;
    this.stop();
    try {
      // Asks for the password by itself when the session has ended.
      session.info = await api.get<SessionInfo>("/auth/session");
      setTimeout(() => this.start(), AGAIN_MS);
    } catch (error) {
      // Away: it is opened when the appliance is back.
      if (!asProblem(error).isOffline && session.info) setTimeout(() => this.start(), AGAIN_MS * 5);
    }
  }
}

export const live = new Live();
