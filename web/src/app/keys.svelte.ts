import { untrack } from "svelte";

// Single keys: never while somebody types, never with a modifier.

export interface Shortcut {
  key: string;
  /** What the help says. */
  text: string;
  run: () => void;
}

/** The shortcuts in force, those of the frame and of the screen; a later one wins. */
export const shortcuts: Shortcut[] = $state([]);

function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return true;
  return target instanceof HTMLInputElement && !["checkbox", "radio", "button", "submit", "range"].includes(target.type);
}

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
  const found = shortcuts.findLast((shortcut) => shortcut.key === event.key);
  if (!found) return;
  event.preventDefault();
  found.run();
});

/** For an `$effect`: these keys work while the component is shown. */
export function useShortcuts(own: Shortcut[]): () => void {
  // Whoever adds keys does not watch them.
  untrack(() => shortcuts.push(...own));
  return () => {
    for (const shortcut of own) {
      const at = shortcuts.findIndex((other) => other.key === shortcut.key && other.text === shortcut.text);
      if (at >= 0) shortcuts.splice(at, 1);
    }
  };
}
