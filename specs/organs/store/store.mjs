// Values that outlive a turn: one JSON file, replaced whole, with an expiry for those that want one.
import fs from "node:fs";
import path from "node:path";

const FILE = path.join(process.env.FLEET_DATA ?? "/var/lib/reconciler/organs", "store.json");
const USAGE = "usage: store.mjs set KEY VALUE [SECONDS] | get KEY | list [PREFIX] | delete KEY | check";

function fail(message) {
  process.stderr.write(`error: ${message}\n`);
  process.exit(1);
}

function load() {
  try {
    return new Map(Object.entries(JSON.parse(fs.readFileSync(FILE, "utf8"))));
  } catch (error) {
    if (error.code === "ENOENT") return new Map();
    throw error;
  }
}

function save(values) {
  fs.mkdirSync(path.dirname(FILE), { recursive: true, mode: 0o700 });
  const next = `${FILE}.${process.pid}.new`;
  fs.writeFileSync(next, JSON.stringify(Object.fromEntries(values)), { mode: 0o600, flush: true });
  fs.renameSync(next, FILE);
}

/** One change at a time, over all processes; a lock whose holder has ended is taken over. */
function locked(work) {
  const lock = `${FILE}.lock`;
  fs.mkdirSync(path.dirname(lock), { recursive: true, mode: 0o700 });
  for (let tries = 0; ; tries++) {
    try {
      fs.writeFileSync(lock, String(process.pid), { flag: "wx" });
      break;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
      const age = Date.now() - (fs.statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
      if (age > 10_000) fs.rmSync(lock, { force: true });
      else if (tries > 1000) fail("the store is locked; try again");
      else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    }
  }
  try {
    return work();
  } finally {
    fs.rmSync(lock, { force: true });
  }
}

const alive = (entry) => entry !== undefined && (entry.until === undefined || Date.now() < entry.until);

function set(key, value, seconds) {
  if (key === undefined || value === undefined) fail(USAGE);
  const life = seconds === undefined ? undefined : Number(seconds);
  if (life !== undefined && !(life > 0)) fail(`${seconds} is no number of seconds above 0`);
  locked(() => {
    const values = new Map([...load()].filter(([, entry]) => alive(entry)));
    save(values.set(key, { value, ...(life === undefined ? {} : { until: Date.now() + life * 1000 }) }));
  });
}

function get(key) {
  const entry = load().get(key);
  return alive(entry) ? entry.value : undefined;
}

function remove(key) {
  return locked(() => {
    const values = load();
    const was = values.delete(key);
    save(values);
    return was;
  });
}

const [verb, ...args] = process.argv.slice(2);
switch (verb) {
  case "set":
    set(...args);
    break;
  case "get": {
    const value = get(args[0]);
    if (value === undefined) fail(`there is no ${args[0]}`);
    process.stdout.write(`${value}\n`);
    break;
  }
  case "list":
    for (const [key, entry] of [...load()].sort()) if (alive(entry) && key.startsWith(args[0] ?? "")) process.stdout.write(`${key}\n`);
    break;
  case "delete":
    if (!remove(args[0])) fail(`there is no ${args[0]}`);
    break;
  case "check": {
    const key = `.check-${process.pid}`;
    set(key, "1", "60");
    if (get(key) !== "1" || !remove(key) || get(key) !== undefined) fail("what was stored does not come back");
    process.stdout.write("ok\n");
    break;
  }
  default:
    fail(USAGE);
}
