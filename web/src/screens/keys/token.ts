// What a program needs to use a key. Examples name the variable, never a token.
import { prefix } from "../../api/client";
import { copyText } from "../../ui";

/** Where programs reach the appliance, as the browser sees it. */
export const base = `${location.origin}${prefix}`;

export const SNIPPETS: readonly { id: string; text: string; code: string }[] = [
  { id: "curl", text: "curl", code: `curl -H "X-API-Key: $API_KEY" \\\n  -F to=+15551234567 -F file=@letter.pdf \\\n  ${base}/fax` },
  {
    id: "python",
    text: "Python",
    code: `import os, requests

fax = requests.post(
    "${base}/fax",
    headers={"X-API-Key": os.environ["API_KEY"]},
    data={"to": "+15551234567"},
    files={"file": open("letter.pdf", "rb")},
).json()
print(fax["id"], fax["status"])`,
  },
  {
    id: "node",
    text: "Node",
    code: `import { openAsBlob } from "node:fs";

const form = new FormData();
form.append("to", "+15551234567");
form.append("file", await openAsBlob("letter.pdf"), "letter.pdf");
const answer = await fetch("${base}/fax", {
  method: "POST",
  headers: { "X-API-Key": process.env.API_KEY },
  body: form,
});
console.log(await answer.json());`,
  },
];

/** The lines of a .env file. */
export function dotEnv(token: string): string {
  return `PAGEWIRE_URL=${base}\nAPI_KEY=${token}\n`;
}

/** Hands a .env file to the browser's downloads. */
export function downloadDotEnv(token: string) {
  const url = URL.createObjectURL(new Blob([dotEnv(token)], { type: "text/plain" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = ".env";
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

export { copyText };
