// The grammar of bash, as it is shipped beside this file.
import fs from "node:fs";
import path from "node:path";
import { gunzipSync } from "node:zlib";
import { Language, Parser } from "./vendor/web-tree-sitter.mjs";

const part = (name) => gunzipSync(fs.readFileSync(path.join(import.meta.dirname, "vendor", name)));
let parser;

/** Once, before anything is parsed. */
export async function load() {
  if (parser) return;
  await Parser.init({ wasmBinary: part("web-tree-sitter.wasm.gz") });
  const made = new Parser();
  made.setLanguage(await Language.load(part("tree-sitter-bash.wasm.gz")));
  parser = made;
}

/** A tree; whoever asked for it deletes it. */
export const parse = (source) => parser.parse(source);
