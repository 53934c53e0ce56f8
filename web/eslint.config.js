import js from "@eslint/js";
import svelte from "eslint-plugin-svelte";
import globals from "globals";
import ts from "typescript-eslint";

import svelteConfig from "./svelte.config.js";

export default ts.config(
  { ignores: ["dist/", "plain/", "docs/", "node_modules/", "src/api/schema.ts"] },
  js.configs.recommended,
  ts.configs.recommended,
  svelte.configs.recommended,
  { languageOptions: { globals: { ...globals.browser, ...globals.node } } },
  {
    files: ["**/*.svelte", "**/*.svelte.ts"],
    languageOptions: { parserOptions: { parser: ts.parser, svelteConfig } },
  },
  {
    rules: {
      // TypeScript knows better what exists.
      "no-undef": "off",
      "no-restricted-globals": ["error", "alert", "confirm", "prompt"],
      "no-restricted-syntax": [
        "error",
        {
          selector: "MemberExpression[object.name=/^(sessionStorage|indexedDB)$/]",
          message: "Nothing is stored in the browser but the theme; see app/theme.svelte.ts.",
        },
      ],
      // The policy of the page forbids inline style and markup from strings.
      "svelte/no-at-html-tags": "error",
      "svelte/no-navigation-without-resolve": "off",
      // What never changes after it was made need not be watched.
      "svelte/prefer-svelte-reactivity": "off",
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
    },
  },
);
