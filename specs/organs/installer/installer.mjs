// More skills on this machine, from a directory or a git repository. They are read by pi at its next start.
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const SKILLS = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

function fail(message) {
  process.stderr.write(`error: ${message}\n`);
  process.exit(1);
}

function target(name) {
  if (!/^[a-z0-9](-?[a-z0-9])*$/.test(name ?? "") || name.length > 64) fail("a name is lower-case letters, digits and single hyphens, at most 64");
  if (name.startsWith("fleet-")) fail("names that begin with fleet- are the controller's");
  return path.join(SKILLS, name);
}

function add(name, source) {
  const place = target(name);
  if (!source) fail("a directory or a git URL is missing");
  const work = fs.mkdtempSync(path.join(os.tmpdir(), "skill-"));
  try {
    let from = source;
    if (!fs.existsSync(source)) {
      from = path.join(work, "clone");
      const env = { ...process.env, GIT_TERMINAL_PROMPT: "0" };
      execFileSync("git", ["clone", "--quiet", "--depth", "1", "--", source, from], { env, stdio: ["ignore", "ignore", "inherit"], timeout: 300_000 });
    }
    const skill = path.join(from, "SKILL.md");
    if (!fs.existsSync(skill) || !/^description: \S/m.test(fs.readFileSync(skill, "utf8"))) fail(`${source} has no SKILL.md with a description`);
    fs.rmSync(`${place}.new`, { recursive: true, force: true });
    fs.cpSync(from, `${place}.new`, { recursive: true, filter: (file) => path.basename(file) !== ".git" });
    fs.rmSync(place, { recursive: true, force: true });
    fs.renameSync(`${place}.new`, place);
  } finally {
    fs.rmSync(work, { recursive: true, force: true });
  }
}

const [verb, name, source] = process.argv.slice(2);
switch (verb) {
  case "add":
    add(name, source);
    process.stdout.write(`${name} is installed; pi reads it at its next start\n`);
    break;
  case "remove":
    if (!fs.existsSync(target(name))) fail(`there is no ${name}`);
    fs.rmSync(target(name), { recursive: true });
    break;
  case "list":
    for (const one of fs.readdirSync(SKILLS).sort()) if (!one.startsWith("fleet-")) process.stdout.write(`${one}\n`);
    break;
  case "check":
    fs.accessSync(SKILLS, fs.constants.W_OK);
    try {
      execFileSync("git", ["--version"], { stdio: "ignore" });
    } catch {
      fail("git is missing; add a step that installs it");
    }
    process.stdout.write("ok\n");
    break;
  default:
    fail("usage: installer.mjs add NAME DIRECTORY|GIT_URL | remove NAME | list | check");
}
