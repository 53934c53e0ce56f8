import { SvelteSet } from "svelte/reactivity";

/** The rows of a table that somebody chose, by their ids. */
export class Chosen {
  #ids = new SvelteSet<string>();
  /** The row that was pressed last, where a range begins. */
  #last: string | undefined;

  get size(): number {
    return this.#ids.size;
  }

  has(id: string): boolean {
    return this.#ids.has(id);
  }

  /** One row. */
  set(id: string, isOn: boolean) {
    this.#put(id, isOn);
    this.#last = id;
  }

  /** All rows from the one that was pressed last to this one; `order` is how they are shown. */
  setTo(id: string, isOn: boolean, order: readonly string[]) {
    const [from, to] = [order.indexOf(this.#last ?? id), order.indexOf(id)];
    const range = from < 0 || to < 0 ? [id] : order.slice(Math.min(from, to), Math.max(from, to) + 1);
    for (const one of range) this.#put(one, isOn);
    this.#last = id;
  }

  add(ids: Iterable<string>) {
    for (const id of ids) this.#ids.add(id);
  }

  remove(ids: Iterable<string>) {
    for (const id of ids) this.#ids.delete(id);
  }

  clear() {
    this.#ids.clear();
    this.#last = undefined;
  }

  #put(id: string, isOn: boolean) {
    if (isOn) this.#ids.add(id);
    else this.#ids.delete(id);
  }
}
