// What a page downloads: the client alone, minified and compressed, chunk by chunk.
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const { outputFiles } = await build({
  entryPoints: ["dist/index.js"],
  bundle: true,
  format: "esm",
  splitting: true,
  minify: true,
  write: false,
  outdir: "out",
  platform: "browser",
});
for (const { path, contents } of outputFiles) {
  const name = path.split("/").at(-1);
  console.log(`${name}: ${contents.length} bytes, ${gzipSync(contents, { level: 9 }).length} gzip`);
}
