// A fax while it is being written: what was chosen, its pages as they will be, and its way out.
import { api } from "../../api/client";
import { newOrder } from "../../api/order";
import { asProblem, Problem } from "../../api/problem";
import type { Fax, Schemas } from "../../api/types";

/** `POST /previews`: the very dots that will be sent, and where to. */
export type Preview = Schemas["Preview"];
export type Destination = Schemas["DestinationView"];

export interface Item {
  id: number;
  file: File;
}

/** A number beside the first: the document goes to each of them, as a group. */
export interface Further {
  id: number;
  to: string;
}

/** How long a change rests before pages are made anew; words on a cover page rest longer. */
const REST_MS = 600;
const WORDS_REST_MS = 1200;

/** A number as it is written, without what only makes it readable. */
export function bare(number: string): string {
  return number.replace(/[\s()./-]/g, "");
}

/** What can be one, without what only makes it readable. */
export const IS_NUMBER = /^\+?\d{6,20}$/;

export class Draft {
  items: Item[] = $state.raw([]);
  to = $state("");
  further: Further[] = $state([]);
  hasCover = $state(false);
  toName = $state("");
  fromName = $state("");
  subject = $state("");
  note = $state("");
  resolution = $state("fine");
  quality = $state("text");
  priority = $state("normal");
  /** Local, as the field of the browser gives it; empty is at once. */
  schedule = $state("");
  isLater = $state(false);
  tag = $state("");
  /** When a mail tells of it; empty is as for all faxes. */
  notify = $state("");
  /** Whom it tells; empty is who is told of all faxes. */
  notifyTo = $state("");
  /** Id of a key; empty is oneself. */
  asKey = $state("");

  preview: Preview | undefined = $state.raw();
  /** What would become of each number, as it is written, when there are several. */
  verdicts: ReadonlyMap<string, Schemas["NumberDryRun"]> = $state.raw(new Map());
  duplicates: ReadonlySet<string> = $state.raw(new Set());
  /** Why the several numbers cannot be sent to. */
  numbersProblem: Problem | undefined = $state.raw();
  /** Why there is no preview. */
  problem: Problem | undefined = $state.raw();
  isMaking = $state(false);
  /** What was chosen has changed since the preview. */
  isStale = $state(false);
  isSending = $state(false);
  refusal: Problem | undefined = $state.raw();
  /** Set with the first press on Send; from then on fields say what they miss. */
  wasTried = $state(false);

  #last = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #abort = new AbortController();
  #asking: ReturnType<typeof setTimeout> | undefined;
  #asked = new AbortController();
  /** Names this very order, so that it goes out once however often it is tried. */
  #order: { of: string; name: string } | undefined;

  add(files: Iterable<File>) {
    this.items = [...this.items, ...[...files].map((file) => ({ id: ++this.#last, file }))];
  }

  remove(id: number) {
    this.items = this.items.filter((item) => item.id !== id);
  }

  move(from: number, to: number) {
    if (to < 0 || to >= this.items.length || from === to) return;
    const items = [...this.items];
    items.splice(to, 0, ...items.splice(from, 1));
    this.items = items;
  }

  addNumber(to = "") {
    this.further.push({ id: ++this.#last, to });
  }

  removeNumber(id: number) {
    this.further = this.further.filter((one) => one.id !== id);
  }

  /** All numbers that were entered, without what only makes them readable. */
  get numbers(): string[] {
    return [this.to, ...this.further.map(({ to }) => to)].map(bare).filter(Boolean);
  }

  get isGroup(): boolean {
    return this.numbers.length > 1;
  }

  /** What is wrong with the number, before anybody is asked. */
  get numberError(): string | undefined {
    if (!bare(this.to)) return this.wasTried ? "Enter the fax number." : undefined;
    const own = this.errorOf(this.to);
    if (own) return own;
    // What is refused of several is told of at each.
    const refused = this.isGroup ? this.problem : (this.refusal ?? this.problem);
    return refused?.status === 400 || refused?.of("to") ? (refused.of("to") ?? refused.message) : undefined;
  }

  /** What is wrong with one of the numbers; a field that was left empty counts for nothing. */
  errorOf(written: string): string | undefined {
    const text = bare(written);
    return text ? (this.#unreadable(written) ?? this.#refusedOf(text)) : undefined;
  }

  #unreadable(written: string): string | undefined {
    const text = bare(written);
    if (/[^\d+]/.test(text)) return "A fax number has digits only, and perhaps + at its beginning.";
    return !IS_NUMBER.test(text) && this.wasTried ? "A fax number has 6 to 20 digits." : undefined;
  }

  /** The server names of several numbers those that it refuses. */
  #refusedOf(number: string): string | undefined {
    const errors = (this.refusal ?? this.numbersProblem)?.errors ?? [];
    const found = errors.find(({ field, message }) => field === "to" && message.startsWith(`${number}: `));
    return found?.message.slice(number.length + 2);
  }

  get isNumber(): boolean {
    return IS_NUMBER.test(bare(this.to));
  }

  get hasPages(): boolean {
    return this.items.length > 0 || (this.hasCover && !!(this.note.trim() || this.subject.trim()));
  }

  get pagesError(): string | undefined {
    return this.wasTried && !this.hasPages ? "Add a document, or a cover page with a message." : undefined;
  }

  get scheduleError(): string | undefined {
    if (!this.isLater) return undefined;
    if (!this.schedule) return this.wasTried ? "Choose day and time." : undefined;
    if (new Date(this.schedule) <= new Date()) return "Choose a time that has not passed.";
    return this.refusal?.of("schedule_at");
  }

  /** Whether an address may be given: somebody is told of this fax. */
  get isToldTo(): boolean {
    return this.notify !== "" && this.notify !== "none";
  }

  get notifyError(): string | undefined {
    if (this.isGroup && this.notify === "requeued") return "Of several numbers only the end of all is told.";
    return this.refusal?.of("notify");
  }

  /** What is asked for beside the pages. */
  get notices(): { notify: string; notify_to: string } {
    return { notify: this.notify, notify_to: this.isToldTo ? this.notifyTo.trim() : "" };
  }

  get isComplete(): boolean {
    const areNumbers = this.isNumber && !this.numberError && this.numbers.every((number) => IS_NUMBER.test(number));
    if (this.isGroup && this.notify === "requeued") return false;
    return areNumbers && this.hasPages && (!this.isLater || (!!this.schedule && !this.scheduleError));
  }

  /** Where it goes, while that is about the number in the field. */
  get destination(): Destination | undefined {
    return this.isStale || !this.isNumber ? undefined : (this.preview?.destination ?? undefined);
  }

  /** What the pages are made of; whoever reads it sees every change. */
  get recipe() {
    const cover = this.hasCover ? [this.toName, this.fromName, this.subject, this.note] : [];
    const number = this.isNumber ? bare(this.to) : "";
    return { shape: JSON.stringify([this.items.map(({ id }) => id), this.resolution, this.quality, this.asKey, number, this.hasCover]), words: JSON.stringify(cover) };
  }

  #made: { shape: string; words: string } | undefined;

  /** Makes the pages once nothing has changed for a moment. */
  plan() {
    const recipe = this.recipe;
    clearTimeout(this.#timer);
    this.#abort.abort();
    this.problem = undefined;
    this.isMaking = false;
    if (!this.hasPages) {
      this.preview = undefined;
      this.#made = undefined;
      return;
    }
    this.isStale = recipe.shape !== this.#made?.shape || recipe.words !== this.#made.words;
    if (!this.isStale) return;
    this.isMaking = true;
    const rest = recipe.shape === this.#made?.shape ? WORDS_REST_MS : REST_MS;
    this.#timer = setTimeout(() => void this.make(), rest);
  }

  async make() {
    const { signal } = (this.#abort = new AbortController());
    const recipe = this.recipe;
    this.isMaking = true;
    try {
      // Where the first leads; what becomes of several is asked for beside.
      const body = this.#form(this.isNumber ? [bare(this.to)] : []);
      const preview = await api.post<Preview>("/previews", body, { query: { as_key: this.asKey }, signal });
      if (signal.aborted) return;
      this.preview = preview;
      this.problem = undefined;
      this.#made = recipe;
      this.isStale = false;
    } catch (error) {
      if (!signal.aborted) this.problem = asProblem(error);
    } finally {
      if (!signal.aborted) this.isMaking = false;
    }
  }

  /** Asks what would become of several numbers once they rest and their pages are there. */
  planNumbers() {
    const { numbers, preview } = this;
    clearTimeout(this.#asking);
    this.#asked.abort();
    this.numbersProblem = undefined;
    if (numbers.length < 2 || !preview || this.isStale || !numbers.every((number) => IS_NUMBER.test(number))) return;
    this.#asking = setTimeout(() => void this.#ask(numbers, preview.id), REST_MS);
  }

  async #ask(numbers: readonly string[], preview: string) {
    const { signal } = (this.#asked = new AbortController());
    const form = new FormData();
    for (const number of numbers) form.append("to", number);
    form.append("preview", preview);
    form.append("dry_run", "1");
    try {
      const said = await api.post<Schemas["GroupDryRun"]>("/fax", form, { query: { as_key: this.asKey }, signal });
      if (signal.aborted) return;
      this.verdicts = new Map(said.numbers.map((one) => [one.to, one]));
      this.duplicates = new Set(said.duplicates);
    } catch (error) {
      // A preview that is gone, or a lost connection, says nothing about numbers.
      const problem = asProblem(error);
      if (!signal.aborted && problem.of("to")) this.numbersProblem = problem;
    }
  }

  stop() {
    clearTimeout(this.#timer);
    clearTimeout(this.#asking);
    this.#abort.abort();
    this.#asked.abort();
  }

  #form(numbers: readonly string[]): FormData {
    const form = new FormData();
    for (const number of numbers) form.append("to", number);
    const choices = { resolution: this.resolution, quality: this.quality };
    for (const [name, value] of Object.entries(choices)) form.append(name, value);
    if (this.hasCover) {
      form.append("cover", "1");
      const words = { to_name: this.toName, from_name: this.fromName, subject: this.subject, note: this.note };
      for (const [name, value] of Object.entries(words)) if (value.trim()) form.append(name, value.trim());
    }
    for (const { file } of this.items) form.append("file", file, file.name);
    return form;
  }

  /**
   * Sends it: the pages that were looked at, else the documents; answers where to follow it, below the console, or why
   * not in `refusal`.
   */
  async send(): Promise<string | undefined> {
    this.wasTried = true;
    this.refusal = undefined;
    if (!this.isComplete) return undefined;
    this.isSending = true;
    try {
      const preview = this.isStale ? undefined : this.preview;
      try {
        return await this.#post(preview);
      } catch (error) {
        // It was looked at for longer than it is kept.
        if (preview && asProblem(error).of("preview")) return await this.#post(undefined);
        throw error;
      }
    } catch (error) {
      this.refusal = asProblem(error);
      return undefined;
    } finally {
      this.isSending = false;
    }
  }

  async #post(preview: Preview | undefined): Promise<string> {
    let form = this.#form(this.numbers);
    if (preview) {
      form = new FormData();
      for (const number of this.numbers) form.append("to", number);
      form.append("preview", preview.id);
    }
    form.append("priority", this.priority);
    if (this.tag.trim()) form.append("tag", this.tag.trim());
    if (this.isLater) form.append("schedule_at", new Date(this.schedule).toISOString());
    for (const [name, value] of Object.entries(this.notices)) if (value) form.append(name, value);
    const headers = { "idempotency-key": this.#orderName(preview?.id) };
    const accepted = await api.post<Fax | Schemas["AcceptedGroup"]>("/fax", form, { query: { as_key: this.asKey }, headers });
    return "id" in accepted ? `/jobs/${accepted.id}` : `/groups/${accepted.group.id}`;
  }

  #orderName(preview: string | undefined): string {
    const of = JSON.stringify([preview, this.numbers, this.recipe, this.priority, this.tag, this.notices, this.isLater && this.schedule]);
    if (this.#order?.of !== of) this.#order = { of, name: newOrder() };
    return this.#order.name;
  }
}
