// The same fax as a program would send it. Never with a token: that comes from the environment.

export interface Order {
  /** Where the appliance is, with what a proxy puts before it. */
  base: string;
  /** Of several numbers the answer is a group. */
  to: readonly string[];
  files: readonly string[];
  /** What else was chosen, without what would be so anyway. */
  fields: readonly (readonly [string, string])[];
}

export type Language = "curl" | "python" | "node";

const EXAMPLE = { to: "+15551234567", file: "letter.pdf" };

export function lines(language: Language, order: Order): string {
  const numbers = order.to.length > 0 ? order.to : [EXAMPLE.to];
  const files = order.files.length > 0 ? order.files : order.fields.some(([name]) => name === "cover") ? [] : [EXAMPLE.file];
  const fields: (readonly [string, string])[] = [...numbers.map((to) => ["to", to] as const), ...order.fields];
  return { curl, python, node }[language](order.base, fields, files);
}

/** A word of a shell, whatever stands in it. */
function shell(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Within curl's own quotes, which a name with `;` or `,` needs. */
function curlFile(name: string): string {
  return /[;,"\\]/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : name;
}

function curl(base: string, fields: readonly (readonly [string, string])[], files: readonly string[]): string {
  const parts = [
    `curl ${shell(`${base}/fax`)}`,
    `-H "X-API-Key: $API_KEY"`,
    // A value that begins with @ or < would be read from a file by -F.
    ...fields.map(([name, value]) => `${/^[@<]/.test(value) ? "--form-string" : "-F"} ${shell(`${name}=${value}`)}`),
    ...files.map((name) => `-F ${shell(`file=@${curlFile(name)}`)}`),
  ];
  return parts.join(" \\\n  ");
}

function python(base: string, fields: readonly (readonly [string, string])[], files: readonly string[]): string {
  const text = JSON.stringify;
  // Without a document a field has to make it a form of several parts.
  const alone = files.length > 0 ? undefined : "cover";
  const numbers = fields.filter(([name]) => name === "to").map(([, value]) => text(value));
  const to = numbers.length > 1 ? `[${numbers.join(", ")}]` : numbers.join("");
  const others = fields.filter(([name]) => name !== alone && name !== "to");
  const data = [`        "to": ${to},`, ...others.map(([name, value]) => `        ${text(name)}: ${text(value)},`)];
  const sent = alone ? [`        ("cover", (None, "1")),`] : files.map((name) => `        ("file", open(${text(name)}, "rb")),`);
  return [
    "import os",
    "import requests  # pip install requests",
    "",
    "answer = requests.post(",
    `    ${text(`${base}/fax`)},`,
    `    headers={"X-API-Key": os.environ["API_KEY"]},`,
    "    data={",
    ...data,
    "    },",
    "    files=[",
    ...sent,
    "    ],",
    ")",
    "answer.raise_for_status()",
    numbers.length > 1 ? `print(answer.json()["group"]["id"])` : `print(answer.json()["id"])`,
  ].join("\n");
}

function node(base: string, fields: readonly (readonly [string, string])[], files: readonly string[]): string {
  const text = JSON.stringify;
  const name = (path: string) => path.split("/").at(-1) ?? path;
  return [
    ...(files.length > 0 ? [`import { openAsBlob } from "node:fs";`, ""] : []),
    "const form = new FormData();",
    ...fields.map(([field, value]) => `form.append(${text(field)}, ${text(value)});`),
    ...files.map((path) => `form.append("file", await openAsBlob(${text(path)}), ${text(name(path))});`),
    "",
    `const answer = await fetch(${text(`${base}/fax`)}, {`,
    `  method: "POST",`,
    `  headers: { "X-API-Key": process.env.API_KEY },`,
    "  body: form,",
    "});",
    "if (!answer.ok) throw new Error((await answer.json()).detail);",
    fields.filter(([name]) => name === "to").length > 1 ? "console.log((await answer.json()).group.id);" : "console.log((await answer.json()).id);",
  ].join("\n");
}
