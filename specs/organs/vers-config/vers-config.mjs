// Settings by precedence: environment, then what was set here, then the files of the platform's own tools. Values that may be
// secret are shown by their first characters only; which source one came from is always said.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

const OWN = path.join(process.env.FLEET_DATA ?? "/var/lib/reconciler/organs", "config.json");
const VERS = path.join(os.homedir(), ".vers");
const KNOWN = { VERS_API_KEY: true, VERS_AUTH_TOKEN: true, VERS_BASE_URL: false, VERS_INFRA_URL: false, VERS_AGENT_NAME: false, VERS_AGENT_ROLE: false, VERS_VM_ID: false };

function fail(message) {
  process.stderr.write(`error: ${message}\n`);
  process.exit(1);
}

function read(file) {
  try {
    const found = JSON.parse(fs.readFileSync(file, "utf8"));
    return typeof found === "object" && found !== null ? found : {};
  } catch (error) {
    if (error.code === "ENOENT") return {};
    fail(`${file} can't be read (${error.code ?? "it is no JSON"})`);
  }
}

/** [value, source], or undefined. */
function resolve(name) {
  if (process.env[name]) return [process.env[name], "environment"];
  const own = read(OWN)[name];
  if (own) return [own, OWN];
  if (name === "VERS_API_KEY") {
    const keys = read(path.join(VERS, "keys.json"));
    const key = keys.keys?.VERS_API_KEY ?? keys.VERS_API_KEY;
    if (key) return [key, path.join(VERS, "keys.json")];
  }
  const value = read(path.join(VERS, "config.json"))[name];
  return value ? [String(value), path.join(VERS, "config.json")] : undefined;
}

function save(values) {
  fs.mkdirSync(path.dirname(OWN), { recursive: true, mode: 0o700 });
  fs.writeFileSync(`${OWN}.new`, JSON.stringify(values), { mode: 0o600, flush: true });
  fs.renameSync(`${OWN}.new`, OWN);
}

const shown = (name, value) => (KNOWN[name] ? `${value.slice(0, 4)}…` : value);
const [verb, name, value] = process.argv.slice(2);
if (name !== undefined && !(name in KNOWN)) fail(`there is no setting ${name}; there are ${Object.keys(KNOWN).join(", ")}`);
switch (verb) {
  case "list":
  case "get":
    for (const one of name ? [name] : Object.keys(KNOWN)) {
      const found = resolve(one);
      process.stdout.write(found ? `${one}\t${shown(one, found[0])}\t${found[1]}\n` : `${one}\t\tnot set\n`);
    }
    break;
  case "set":
    if (!name || !value) fail("usage: vers-config.mjs set NAME VALUE");
    if (KNOWN[name]) fail(`${name} is a secret; declare it in the env of the profile or the lieutenant`);
    save({ ...read(OWN), [name]: value });
    break;
  case "delete": {
    const { [name]: was, ...others } = read(OWN);
    if (was === undefined) fail(`${name} was not set here`);
    save(others);
    break;
  }
  case "check":
    for (const one of Object.keys(KNOWN)) resolve(one);
    process.stdout.write("ok\n");
    break;
  default:
    fail("usage: vers-config.mjs list | get NAME | set NAME VALUE | delete NAME | check");
}
