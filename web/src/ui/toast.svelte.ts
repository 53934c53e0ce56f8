/** One short sentence that something was done, or why not. */
export interface Toast {
  id: number;
  text: string;
  tone: "ok" | "bad" | "none";
  action?: { text: string; run: () => void };
}

/** How long a sentence stays; a bad one stays until it is dismissed. */
const STAYS_MS = 5000;

let last = 0;
export const toasts: Toast[] = $state([]);

export function dismiss(id: number) {
  const at = toasts.findIndex((toast) => toast.id === id);
  if (at >= 0) toasts.splice(at, 1);
}

export function toast(text: string, options: Partial<Pick<Toast, "tone" | "action">> = {}) {
  const id = ++last;
  const tone = options.tone ?? "ok";
  toasts.push({ ...options, id, text, tone });
  if (toasts.length > 4) toasts.shift();
  if (tone !== "bad") setTimeout(() => dismiss(id), STAYS_MS);
}

/** Tells of a failure in the server's own words. */
export function toastError(error: unknown) {
  toast(error instanceof Error ? error.message : "Something went wrong.", { tone: "bad" });
}
