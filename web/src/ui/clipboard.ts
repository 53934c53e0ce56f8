/**
 * Copies a text, on plain HTTP too, where browsers hide `navigator.clipboard`.
 *
 * Answers whether it worked.
 */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

function copyBySelection(text: string): boolean {
  const area = document.createElement("textarea");
  area.value = text;
  area.readOnly = true;
  area.className = "unseen";
  // Inside an open dialog, because all else is inert and cannot be selected.
  const place = document.querySelector("dialog[open]:last-of-type") ?? document.body;
  const before = document.activeElement;
  place.append(area);
  area.select();
  const worked = document.execCommand("copy");
  area.remove();
  if (before instanceof HTMLElement) before.focus();
  return worked;
}
