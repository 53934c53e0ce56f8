/** A name nobody else gives, so that the server does once what is asked of it several times. */
export function newOrder(): string {
  // Not `randomUUID`, which browsers hide on plain HTTP.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
