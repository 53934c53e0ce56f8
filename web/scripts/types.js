// Writes src/api/schema.ts: the types of the API, from the description the server publishes.
import { readFileSync, writeFileSync } from "node:fs";

const here = new URL(".", import.meta.url);
const description = JSON.parse(readFileSync(new URL("../../src/http/openapi/description.json", here), "utf8"));

/** The TypeScript for one JSON schema. */
function type(schema, depth) {
  if (schema === true || schema === undefined) return "unknown";
  if (schema.$ref) return `Schemas["${schema.$ref.split("/").pop()}"]`;
  const several = (schemas, sign) => schemas.map((one) => `(${type(one, depth)})`).join(sign);
  if (schema.allOf) return several(schema.allOf, " & ");
  if (schema.oneOf ?? schema.anyOf) return several(schema.oneOf ?? schema.anyOf, " | ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (Array.isArray(schema.type)) {
    return schema.type.map((name) => type({ ...schema, type: name }, depth)).join(" | ");
  }
  switch (schema.type) {
    case "string":
      return "string";
    case "integer":
    case "number":
      return "number";
    case "boolean":
      return "boolean";
    case "null":
      return "null";
    case "array":
      return `(${type(schema.items, depth)})[]`;
    case "object":
      return object(schema, depth);
    default:
      return "unknown";
  }
}

function object(schema, depth) {
  if (!schema.properties) {
    const values = schema.additionalProperties;
    return `Record<string, ${values ? type(values, depth) : "unknown"}>`;
  }
  const indent = "  ".repeat(depth + 1);
  const required = new Set(schema.required ?? []);
  const lines = Object.entries(schema.properties).map(([name, property]) => {
    // What may be null is left out of `required` by the server but always sent.
    const note = property.description?.replace(/\s+/g, " ").replaceAll("*/", "* /");
    const text = `${JSON.stringify(name)}${required.has(name) ? "" : "?"}: ${type(property, depth + 1)};`;
    return (note ? `${indent}/** ${note} */\n` : "") + indent + text;
  });
  return `{\n${lines.join("\n")}\n${"  ".repeat(depth)}}`;
}

const schemas = Object.entries(description.components.schemas);
const body = schemas.map(([name, schema]) => `  ${JSON.stringify(name)}: ${type(schema, 1)};`).join("\n");
const text = `// Made by scripts/types.js from the API's description; not committed.\n\nexport interface Schemas {\n${body}\n}\n`;
writeFileSync(new URL("../src/api/schema.ts", here), text);
