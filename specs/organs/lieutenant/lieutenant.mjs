// What a machine needs to carry a lieutenant: the keeper, Node and pi.
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

const BASE = process.env.FLEET_BASE ?? "/var/lib/reconciler";

const [verb] = process.argv.slice(2);
if (verb !== "check" && verb !== "show") {
  process.stderr.write("error: usage: lieutenant.mjs show | check\n");
  process.exit(1);
}
const missing = [];
if (!fs.existsSync(path.join(BASE, "keeper", "main.mjs"))) missing.push("the keeper");
let version = "";
try {
  version = execFileSync("pi", ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], env: { ...process.env, PI_OFFLINE: "1", PI_SKIP_VERSION_CHECK: "1" } }).trim();
} catch {
  missing.push("pi");
}
if (missing.length > 0) {
  process.stderr.write(`error: missing: ${missing.join(", ")}\n`);
  process.exit(1);
}
if (verb === "show") process.stdout.write(`node ${process.version}\npi ${version}\n`);
else process.stdout.write("ok\n");
