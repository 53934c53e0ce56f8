// The steps of the set-up after the first, which makes the administrator.

export const STEPS = [
  { id: "recovery", title: "Recovery" },
  { id: "office", title: "Your office" },
  { id: "line", title: "The line" },
  { id: "reach", title: "Access" },
  { id: "key", title: "First key" },
  { id: "test", title: "Test fax" },
  { id: "done", title: "Done" },
] as const;

export type StepId = (typeof STEPS)[number]["id"];

/** The step that an address names; the first one when it names none. */
export function stepOf(name: string | null): StepId {
  return STEPS.find((step) => step.id === name)?.id ?? STEPS[0].id;
}

/** The step after this one. */
export function stepAfter(id: StepId): StepId {
  const at = STEPS.findIndex((step) => step.id === id);
  return STEPS[Math.min(at + 1, STEPS.length - 1)]?.id ?? "done";
}

/** The token behind `#` of a one-time link, taken out of the address bar and of the history. */
export function takeToken(): string | undefined {
  const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? undefined;
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  return token;
}

/** A number for the test fax: the own one, or one that nobody has. */
export function testNumber(stationId: string, countryCode: string): string {
  const digits = stationId.replace(/\D/g, "");
  if (stationId.startsWith("+") && digits.length >= 8) return `+${digits}`;
  return countryCode === "1" ? "+15550100123" : `+${countryCode}3055501234`;
}
