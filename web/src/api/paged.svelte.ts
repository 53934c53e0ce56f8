import { untrack } from "svelte";

// A long list, page by page, kept up to date while it is looked at.
import { connection } from "./connection.svelte";
import { asProblem, Problem } from "./problem";

export interface Page<T> {
  rows: T[];
  total: number;
  next: string | null;
}

/** How long changes are gathered before they are read. */
const GATHER_MS = 300;
/** More rows than this are not read one by one. */
const SINGLY = 8;

interface Source<T> {
  /** One page; of the first one the cursor is undefined. */
  page: (cursor: string | undefined, signal: AbortSignal) => Promise<Page<T>>;
  /** One row, when it changed. */
  one?: (id: string) => Promise<T>;
  id: (row: T) => string;
}

export class Paged<T> {
  rows: T[] = $state.raw([]);
  total = $state(0);
  /** Undefined while the first page is on its way. */
  isLoaded = $state(false);
  isLoading = $state(false);
  problem: Problem | undefined = $state.raw();
  #source: Source<T>;
  #next: string | null = null;
  #abort = new AbortController();
  #changed = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(source: Source<T>) {
    this.#source = source;
  }

  get hasMore(): boolean {
    return this.#next !== null;
  }

  /** Begins anew, with other filters or because much may have changed; old rows stay until then. */
  async reload(): Promise<void> {
    this.#abort.abort();
    this.#abort = new AbortController();
    await this.#read(undefined, (page) => {
      this.rows = page.rows;
      this.#next = page.next;
      this.isLoaded = true;
    });
  }

  /** The next page, when the reader comes near the end. */
  async more(): Promise<void> {
    if (this.isLoading || this.#next === null) return;
    await this.#read(this.#next, (page) => {
      const known = new Set(this.rows.map(this.#source.id));
      this.rows = [...this.rows, ...page.rows.filter((row) => !known.has(this.#source.id(row)))];
      this.#next = page.next;
    });
  }

  async #read(cursor: string | undefined, take: (page: Page<T>) => void) {
    const { signal } = this.#abort;
    this.isLoading = true;
    try {
      const page = await this.#source.page(cursor, signal);
      if (signal.aborted) return;
      take(page);
      this.total = page.total;
      this.problem = undefined;
    } catch (error) {
      if (!signal.aborted) this.problem = asProblem(error);
    } finally {
      if (!signal.aborted) this.isLoading = false;
    }
  }

  /** Something happened to this row, or it is new. */
  touch(id: string) {
    this.#changed.add(id);
    this.#timer ??= setTimeout(() => void this.#catchUp(), GATHER_MS);
  }

  async #catchUp() {
    this.#timer = undefined;
    const changed = [...this.#changed];
    this.#changed.clear();
    if (!this.isLoaded) return;
    const known = new Set(this.rows.map(this.#source.id));
    const isNew = changed.some((id) => !known.has(id));
    const { one } = this.#source;
    try {
      if (isNew || changed.length > SINGLY || !one) await this.#newest();
      const stale = changed.filter((id) => known.has(id)).slice(0, SINGLY);
      if (one) for (const row of await Promise.all(stale.map((id) => one(id).catch(() => undefined)))) if (row) this.put(row);
    } catch {
      // The next change, or the return of the connection, reads it again.
    }
  }

  /** The first page, put over what is shown. */
  async #newest() {
    const { signal } = this.#abort;
    const page = await this.#source.page(undefined, signal);
    if (signal.aborted) return;
    const fresh = new Set(page.rows.map(this.#source.id));
    const older = this.rows.filter((row) => !fresh.has(this.#source.id(row)));
    if (this.rows.length <= page.rows.length) this.#next = page.next;
    this.rows = [...page.rows, ...older];
    this.total = page.total;
  }

  /** Shows this version of a row. */
  put(row: T) {
    const id = this.#source.id(row);
    this.rows = this.rows.map((other) => (this.#source.id(other) === id ? row : other));
  }

  /** For an `$effect`: reads, and reads again whenever the connection was lost. */
  follow(): () => void {
    untrack(() => void this.reload());
    const off = connection.onBack(() => void this.reload());
    return () => {
      off();
      this.#abort.abort();
      clearTimeout(this.#timer);
    };
  }
}
