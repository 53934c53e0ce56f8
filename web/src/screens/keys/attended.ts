// Whether somebody is there. What looks again by itself does so only then, or a session that nobody
// uses would never end.

const AWAY_MS = 120_000;
let last = Date.now();

for (const sign of ["pointermove", "pointerdown", "keydown", "wheel"]) {
  addEventListener(sign, () => (last = Date.now()), { passive: true, capture: true });
}

export function isAttended(): boolean {
  return !document.hidden && Date.now() - last < AWAY_MS;
}
