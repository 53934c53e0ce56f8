// Pictures of received pages, fetched once. Each look at a page is noted in the audit log, so a
// page that was seen a moment ago is not asked for again.
import { send } from "../../api/client";

/** How many are kept; a page is some 50 kB. */
const KEPT = 80;

class Pictures {
  #kept = new Map<string, Promise<string>>();

  /** The address of the picture of a page, `width` px wide. */
  get(id: string, page: number, width: number): Promise<string> {
    const name = `${id} ${page} ${width}`;
    const known = this.#kept.get(name);
    if (known) {
      // The one used last is dropped last.
      this.#kept.delete(name);
      this.#kept.set(name, known);
      return known;
    }
    const picture = read(id, page, width);
    this.#kept.set(name, picture);
    picture.catch(() => this.#kept.delete(name));
    for (const [oldest, old] of this.#kept) {
      if (this.#kept.size <= KEPT) break;
      this.#kept.delete(oldest);
      void old.then(URL.revokeObjectURL, () => undefined);
    }
    return picture;
  }
}

async function read(id: string, page: number, width: number): Promise<string> {
  const answer = await send("GET", `/inbound/${encodeURIComponent(id)}/pages/${page}.png`, { query: { width }, headers: { accept: "image/png" } });
  return URL.createObjectURL(await answer.blob());
}

export const pictures = new Pictures();
