// The one way to the appliance. Knows the prefix a proxy may put before it, what a write needs,
// and what to do when the session has ended or the password must be entered anew.
import { connection } from "./connection.svelte";
import { Problem } from "./problem";

/** What a proxy puts before our addresses; the appliance writes it into the page. */
export const prefix = document.querySelector<HTMLMetaElement>('meta[name="pagewire-prefix"]')?.content ?? "";

export type Query = Record<string, string | number | boolean | null | undefined>;

export interface Options {
  query?: Query;
  /** An object becomes JSON; a form is sent as a form. */
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** Refusals of the session are the caller's own business: signing in. */
  bare?: boolean;
}

/** What asks a person for something and answers whether they gave it. */
interface Asking {
  /** The session has ended. */
  signIn: () => Promise<boolean>;
  /** The server wants the password once more. */
  password: () => Promise<boolean>;
}

let asking: Asking = { signIn: async () => false, password: async () => false };

/** Tells the client whom to ask; the session does. */
export function askThrough(through: Asking) {
  asking = through;
}

/** The whole address of a path of the API, for links, pictures and streams. */
export function address(path: string, query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return prefix + path + (text && `?${text}`);
}

/** Sends a request and answers the response, whatever it holds; throws a `Problem`. */
export async function send(method: string, path: string, options: Options = {}): Promise<Response> {
  let steppedUp = false;
  for (let tries = 0; ; tries++) {
    const response = await once(method, path, options);
    if (response.ok) return response;
    const problem = await Problem.from(response);
    if (options.bare || tries > 3) throw problem;
    if (problem.status === 401 && (await asking.signIn())) continue;
    if (problem.code === "step_up_required" && !steppedUp) {
      steppedUp = await asking.password();
      if (steppedUp) continue;
      throw new Problem(403, { detail: "Nothing was changed: it needs your password.", error: { code: "step_up_cancelled", message: "", type: "" } });
    }
    throw problem;
  }
}

async function once(method: string, path: string, options: Options): Promise<Response> {
  const headers = new Headers({ accept: "application/json", ...options.headers });
  if (method !== "GET") headers.set("x-console", "1");
  let body: BodyInit | undefined;
  if (options.body instanceof FormData || options.body instanceof Blob) {
    body = options.body;
  } else if (options.body !== undefined) {
    body = JSON.stringify(options.body);
    headers.set("content-type", "application/json");
  }
  const request: RequestInit = { method, headers, body, credentials: "same-origin", cache: "no-store" };
  if (options.signal) request.signal = options.signal;
  try {
    const response = await fetch(address(path, options.query), request);
    connection.reached();
    return response;
  } catch (error) {
    if (options.signal?.aborted) throw error;
    connection.lost();
    throw new Problem(0, { detail: "The appliance does not answer. Nothing was changed; try again in a moment." });
  }
}

async function read<T>(method: string, path: string, options: Options): Promise<T> {
  const response = await send(method, path, options);
  return response.status === 204 ? (undefined as T) : ((await response.json()) as T);
}

/** Requests that answer JSON. `T` is what the API's description says; see types.ts. */
export const api = {
  get: <T>(path: string, query?: Query, options: Options = {}) => read<T>("GET", path, { query, ...options }),
  post: <T>(path: string, body?: unknown, options: Options = {}) => read<T>("POST", path, { body, ...options }),
  put: <T>(path: string, body?: unknown, options: Options = {}) => read<T>("PUT", path, { body, ...options }),
  patch: <T>(path: string, body?: unknown, options: Options = {}) => read<T>("PATCH", path, { body, ...options }),
  delete: <T>(path: string, body?: unknown, options: Options = {}) => read<T>("DELETE", path, { body, ...options }),
};
