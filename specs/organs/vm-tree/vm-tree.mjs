// This machine's own place in the fleet: as the controller wrote it when the machine was prepared.
import fs from "node:fs";

function fail(message) {
  process.stderr.write(`error: ${message}\n`);
  process.exit(1);
}

const [verb, word] = process.argv.slice(2);
let place;
try {
  place = JSON.parse(fs.readFileSync(new URL("place.json", import.meta.url), "utf8"));
} catch (error) {
  fail(`the machine's place can't be read (${error.code ?? "it is no JSON"})`);
}
const { name, profile, organs, capabilities } = place;
if (!name || !profile || !Array.isArray(organs) || !Array.isArray(capabilities)) fail("the machine's place is not whole");
switch (verb) {
  case "show":
    process.stdout.write(`${JSON.stringify(place, null, 1)}\n`);
    break;
  case "has":
    process.exit(organs.includes(word) || capabilities.includes(word) ? 0 : 1);
    break;
  case "check":
    if (!organs.includes("vm-tree")) fail("this organ is not among those that the machine was given");
    process.stdout.write("ok\n");
    break;
  default:
    fail("usage: vm-tree.mjs show | has NAME | check");
}
