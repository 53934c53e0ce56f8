import { createSubscriber } from "svelte/reactivity";

const TICK_MS = 15_000;

const subscribe = createSubscriber((update) => {
  const timer = setInterval(update, TICK_MS);
  return () => clearInterval(timer);
});

/** The time, which moves by itself where it is shown. */
export function now(): Date {
  subscribe();
  return new Date();
}
