// What is on this machine and how it is used: the skills beside this one.
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const SKILLS = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

function fail(message) {
  process.stderr.write(`error: ${message}\n`);
  process.exit(1);
}

const file = (name) => path.join(SKILLS, path.basename(name), "SKILL.md");
const names = fs.readdirSync(SKILLS).filter((name) => fs.existsSync(file(name))).sort();
const about = (name) => /^description: (.*)$/m.exec(fs.readFileSync(file(name), "utf8"))?.[1] ?? "";
const [verb, name] = process.argv.slice(2);
switch (verb) {
  case "list":
    for (const one of names) process.stdout.write(`${one}\t${about(one)}\n`);
    break;
  case "show":
    if (!names.includes(name)) fail(`there is no ${name}; there are ${names.join(", ")}`);
    process.stdout.write(fs.readFileSync(file(name), "utf8"));
    break;
  case "check": {
    const silent = names.filter((one) => !about(one));
    if (!names.includes("fleet-docs") || silent.length > 0) fail(`without a description: ${silent.join(", ") || "fleet-docs itself"}`);
    process.stdout.write("ok\n");
    break;
  }
  default:
    fail("usage: docs.mjs list | show NAME | check");
}
