// Who this machine belongs to: the claim that the controller wrote. It is valid only where its `vm-id` is this machine.
import fs from "node:fs";
import path from "node:path";

const FILE = path.join(process.env.FLEET_BASE ?? "/var/lib/reconciler", "claim.json");
const NEEDED = ["fleet", "kind", "namespace", "name", "uid", "epoch", "vm-id"];

function fail(message) {
  process.stderr.write(`error: ${message}\n`);
  process.exit(1);
}

const [verb, field] = process.argv.slice(2);
let claim;
try {
  claim = JSON.parse(fs.readFileSync(FILE, "utf8"));
} catch (error) {
  fail(`the claim can't be read (${error.code ?? "it is no JSON"})`);
}
const missing = NEEDED.filter((name) => typeof claim[name] !== "string" || claim[name] === "");
if (missing.length > 0) fail(`the claim does not say ${missing.join(", ")}`);
switch (verb) {
  case "show":
    if (field && !(field in claim)) fail(`there is no ${field}; there are ${Object.keys(claim).join(", ")}`);
    process.stdout.write(field ? `${claim[field]}\n` : `${JSON.stringify(claim, null, 1)}\n`);
    break;
  case "check":
    process.stdout.write("ok\n");
    break;
  default:
    fail("usage: registry.mjs show [FIELD] | check");
}
