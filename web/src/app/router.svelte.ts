// Real addresses: what is shown is what the address bar says.
import { prefix } from "../api/client";
import { SCREENS, type Screen } from "../screens";
import { matchPath } from "./match";

const ROOT = `${prefix}/console`;

/** Where a link to a screen leads; `href` of every link inside the console. */
export function to(path: string): string {
  return ROOT + path;
}

class Router {
  path = $state("/");
  query = $state.raw(new URLSearchParams());
  /** What the address has behind `#`, without it. */
  readonly found = $derived(find(this.path));

  constructor() {
    this.#read();
    addEventListener("popstate", () => this.#read());
    document.addEventListener("click", (event) => this.#clicked(event));
  }

  #read() {
    const path = location.pathname.slice(ROOT.length).replace(/\/+$/, "");
    this.path = path || "/";
    this.query = new URLSearchParams(location.search);
  }

  /** Shows a screen; `path` is below /console and may have a query. */
  go(path: string, { replace = false } = {}) {
    const address = to(path);
    if (replace) history.replaceState(null, "", address);
    else history.pushState(null, "", address);
    this.#read();
    if (!replace) scrollTo(0, 0);
  }

  /** Changes filters in the address without a step in the history. */
  filter(values: Record<string, string>) {
    const query = new URLSearchParams(this.query);
    for (const [name, value] of Object.entries(values)) {
      if (value) query.set(name, value);
      else query.delete(name);
    }
    const text = query.toString();
    this.go(this.path + (text && `?${text}`), { replace: true });
  }

  #clicked(event: MouseEvent) {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
    if (link.pathname !== ROOT && !link.pathname.startsWith(`${ROOT}/`)) return;
    if (link.hash && link.pathname === location.pathname) return;
    // Files of the console, such as the licences.
    if (/\.[a-z]+$/.test(link.pathname)) return;
    event.preventDefault();
    this.go(link.pathname.slice(ROOT.length) + link.search);
  }
}

function find(path: string): { screen: Screen; params: Record<string, string> } | undefined {
  for (const screen of SCREENS) {
    const params = matchPath(screen.path, path);
    if (params) return { screen, params };
  }
  return undefined;
}

export const router = new Router();
