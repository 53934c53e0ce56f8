// What a browser calls itself, in two words people know.

const BROWSERS: readonly [RegExp, string][] = [
  [/HeadlessChrome/, "Chromium"],
  [/Edg\//, "Edge"],
  [/OPR\//, "Opera"],
  [/Firefox\/|FxiOS/, "Firefox"],
  [/Chrome\/|CriOS/, "Chrome"],
  [/Safari\//, "Safari"],
  [/curl\//, "curl"],
];
const SYSTEMS: readonly [RegExp, string][] = [
  [/iPhone/, "iPhone"],
  [/iPad/, "iPad"],
  [/Android/, "Android"],
  [/Windows/, "Windows"],
  [/Mac OS X/, "Mac"],
  [/CrOS/, "Chromebook"],
  [/Linux/, "Linux"],
];

const first = (list: readonly [RegExp, string][], agent: string) => list.find(([pattern]) => pattern.test(agent))?.[1];

export function browserOf(agent: string | null | undefined): string {
  if (!agent) return "An unknown browser";
  const [browser, system] = [first(BROWSERS, agent), first(SYSTEMS, agent)];
  if (!browser) return agent.slice(0, 40);
  return system ? `${browser} on ${system}` : browser;
}
