import { expect, test } from "vitest";

import { lines } from "./lines";

const base = "https://fax.example:8443";

test("what was chosen stands in the lines, and a token never does", () => {
  const order = { base, to: ["+15551234567"], files: ["letter.pdf"], fields: [["priority", "high"]] as const };
  expect(lines("curl", order)).toBe(
    `curl https://fax.example:8443/fax \\\n  -H "X-API-Key: $API_KEY" \\\n  -F to=+15551234567 \\\n  -F priority=high \\\n  -F file=@letter.pdf`,
  );
  expect(lines("python", order)).toContain(`("file", open("letter.pdf", "rb"))`);
  expect(lines("node", order)).toContain(`await openAsBlob("letter.pdf"), "letter.pdf")`);
});

test("names and words cannot leave their quotes", () => {
  const order = { base, to: [], files: [`Anna's "new"; $(rm).pdf`], fields: [["note", "@here it's"]] as const };
  const text = lines("curl", order);
  expect(text).toContain(`-F 'file=@"Anna'\\''s \\"new\\"; $(rm).pdf"'`);
  expect(text).toContain(`--form-string 'note=@here it'\\''s'`);
  expect(text).toContain("to=+15551234567");
  expect(lines("python", order)).toContain(String.raw`open("Anna's \"new\"; $(rm).pdf", "rb")`);
});

test("a cover page alone names no document", () => {
  const order = { base, to: ["+15551234567"], files: [], fields: [["cover", "1"], ["subject", "Lunch"]] as const };
  for (const language of ["curl", "python", "node"] as const) expect(lines(language, order)).not.toContain("letter.pdf");
});

test("several numbers are one request, answered with a group", () => {
  const order = { base, to: ["+15551234567", "+15559876543"], files: ["letter.pdf"], fields: [] };
  expect(lines("curl", order)).toContain("-F to=+15551234567 \\\n  -F to=+15559876543");
  expect(lines("python", order)).toContain(`"to": ["+15551234567", "+15559876543"],`);
  expect(lines("python", order)).toContain(`["group"]["id"]`);
  expect(lines("node", order)).toContain(`form.append("to", "+15559876543");`);
  expect(lines("node", order)).toContain(".group.id");
});
