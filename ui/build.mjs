// Builds src/main.ts and src/view.css into the package: `npm run build`.
import { build } from "esbuild";

await build({
  entryPoints: { view: "src/main.ts" },
  outdir: "../Agent/server/pages/static",
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "none",
  loader: { ".css": "css" },
});
await build({
  entryPoints: { view: "src/view.css", document: "src/document.css" },
  outdir: "../Agent/server/pages/static",
  bundle: true,
  minify: true,
});
