// What the screens know of a page before they have its picture.

/** How a page stands with the other machine. */
export type Mark = "confirmed" | "failed" | "sending" | undefined;

export interface PageShown {
  page: number;
  /** Its picture, dot for dot; a `width` makes it smaller. */
  path: string;
  mark?: Mark;
  seconds?: number;
  /** One sentence to think of before it is sent. */
  warning?: string | null | undefined;
}

/** Rows to an inch of each resolution (T.4); across, a page has 204 dots to an inch. */
const ROWS: Record<string, number> = { standard: 98, fine: 196, superfine: 391 };
const DOTS = 204;

/** How much taller than wide a dot is on paper: the picture of a page in standard has half its rows. */
export function stretch(resolution: string): number {
  return DOTS / (ROWS[resolution] ?? DOTS);
}

/** "about 40 s", "2 min 05 s": how long something is on the line. */
export function duration(seconds: number): string {
  const whole = Math.max(1, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const rest = whole % 60;
  return rest ? `${Math.floor(whole / 60)} min ${String(rest).padStart(2, "0")} s` : `${whole / 60} min`;
}
