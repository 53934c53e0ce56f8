// The keys somebody sees, kept up to date.
import { untrack } from "svelte";

import { api } from "../../api/client";
import { connection } from "../../api/connection.svelte";
import { live } from "../../api/live.svelte";
import { asProblem, type Problem } from "../../api/problem";
import { session } from "../../api/session.svelte";
import type { Schemas } from "../../api/types";
import { isAttended } from "./attended";
import type { Key, Safety } from "./types";

/** Uses tell nothing by themselves; so often they are looked at. */
const LOOK_MS = 15_000;
const GATHER_MS = 300;

export class Keys {
  rows: Key[] = $state.raw([]);
  safety: Safety[] = $state.raw([]);
  isLoaded = $state(false);
  problem: Problem | undefined = $state.raw();
  #timer: ReturnType<typeof setTimeout> | undefined;

  async load(): Promise<void> {
    try {
      const [all, own, safety] = await Promise.all([
        api.get<Key[]>("/admin/api-keys"),
        api.get<Schemas["OwnKeys"]>("/api-keys"),
        api.get<Safety[]>("/admin/api-keys/safety"),
      ]);
      // Own keys that were deleted are in the records only.
      const listed = new Set(own.apiKeys.map((key) => key.id));
      const me = session.user?.name;
      this.rows = all.filter((key) => key.owner !== me || listed.has(key.key_id));
      this.safety = safety;
      this.isLoaded = true;
      this.problem = undefined;
    } catch (error) {
      this.problem = asProblem(error);
    }
  }

  /** For an `$effect`. */
  follow(): () => void {
    untrack(() => void this.load());
    const soon = () => {
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        void this.load();
      }, GATHER_MS);
    };
    const offs = [live.on("api_key.", soon), live.on("account.", soon), connection.onBack(soon)];
    const look = setInterval(() => {
      if (isAttended() && connection.isUp && !session.question) soon();
    }, LOOK_MS);
    return () => {
      for (const off of offs) off();
      clearInterval(look);
      clearTimeout(this.#timer);
    };
  }
}
