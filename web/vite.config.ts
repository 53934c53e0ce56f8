import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { svelte } from "@sveltejs/vite-plugin-svelte";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

/** What is worth compressing; pictures and fonts are compressed already. */
const TEXT = /\.(js|css|svg|txt|html)$/;

/** Puts the licences of all packages that went into the bundle into `licences.txt`, for About. */
function licences(): Plugin {
  return {
    name: "licences",
    apply: "build",
    generateBundle(_options, bundle) {
      const folders = new Set<string>();
      for (const output of Object.values(bundle)) {
        if (output.type !== "chunk") continue;
        for (const id of output.moduleIds) {
          const inside = id.replace(/\0/g, "").match(/^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//);
          if (inside?.[1]) folders.add(inside[1]);
        }
      }
      const texts = [...folders].sort().map((folder) => {
        const about = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
        const file = readdirSync(folder).find((name) => /^licen[cs]e/i.test(name));
        const text = file ? readFileSync(join(folder, file), "utf8").trim() : "";
        return `${about.name} ${about.version} (${about.license})\n\n${text}\n`;
      });
      this.emitFile({ type: "asset", fileName: "licences.txt", source: texts.join("\n\n") });
    },
  };
}

/** Writes `.gz` and `.br` beside each text: the appliance embeds those and compresses nothing itself. */
function compressed(): Plugin {
  return {
    name: "compressed",
    apply: "build",
    enforce: "post",
    generateBundle: {
      order: "post",
      handler(_options, bundle) {
        for (const output of Object.values(bundle)) {
          if (!TEXT.test(output.fileName) || output.fileName === "index.html") continue;
          const source = Buffer.from(output.type === "chunk" ? output.code : output.source);
          const params = {
            [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
            [constants.BROTLI_PARAM_SIZE_HINT]: source.length,
          };
          this.emitFile({ type: "asset", fileName: `${output.fileName}.gz`, source: gzipSync(source, { level: 9 }) });
          this.emitFile({ type: "asset", fileName: `${output.fileName}.br`, source: brotliCompressSync(source, { params }) });
        }
      },
    },
  };
}

export default defineConfig({
  base: "/console/",
  plugins: [svelte(), licences(), compressed()],
  resolve: process.env.VITEST ? { conditions: ["browser"] } : {},
  build: {
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    sourcemap: false,
  },
  experimental: {
    // The appliance may stand below a prefix that is known only when it runs: scripts find each
    // other by their own addresses, and only index.html, which the appliance fills in, has whole ones.
    renderBuiltUrl: (_file, { hostType }) => (hostType === "html" ? undefined : { relative: true }),
  },
  server: {
    // `npm run dev` beside a running `./dev demo`; PAGEWIRE_URL names it.
    proxy: Object.fromEntries(
      ["/auth", "/fax", "/groups", "/previews", "/admin", "/events", "/health", "/inbound", "/setup", "/contacts", "/destinations", "/docs", "/openapi.json", "/user"].map(
        (path) => [path, { target: process.env.PAGEWIRE_URL ?? "http://127.0.0.1:8080", changeOrigin: false }],
      ),
    ),
  },
  test: { include: ["src/**/*.test.ts"] },
});
