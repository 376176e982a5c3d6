// Commands by the clock. One program of its own keeps the time; it runs while there is something to run, and is started by every
// use of this one that finds it missing. What was missed while the machine slept or the program was down is not made up for.
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const HOME = path.join(process.env.FLEET_DATA ?? "/var/lib/reconciler/organs", "cron");
const JOBS = path.join(HOME, "jobs.json");
const ALIVE = path.join(HOME, "alive.json");
const USAGE = "usage: cron.mjs add NAME WHEN -- COMMAND… | remove NAME | list | runs NAME | check";
const KEPT = 20;
const TAIL = 2000;
const FIELDS = [["minute", 0, 59], ["hour", 0, 23], ["day", 1, 31], ["month", 1, 12], ["weekday", 0, 6]];

function fail(message) {
  process.stderr.write(`error: ${message}\n`);
  process.exit(1);
}

function read(file, otherwise) {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8"));
  } catch (error) {
    if (error.code === "ENOENT") return otherwise;
    throw error;
  }
}

function write(file, value) {
  fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  const next = `${file}.${process.pid}.new`;
  fs.writeFileSync(next, JSON.stringify(value), { mode: 0o600, flush: true });
  fs.renameSync(next, file);
}

/** `30s`, `5m`, `1h`, `1d` → {every: ms}; five fields in UTC → {fields: [Set…]}. */
function parse(when) {
  const interval = /^([1-9]\d{0,5})([smhd])$/.exec(when);
  if (interval) return { every: Number(interval[1]) * { s: 1e3, m: 6e4, h: 36e5, d: 864e5 }[interval[2]] };
  const parts = when.trim().split(/\s+/);
  if (parts.length !== 5) fail(`${when} is neither an interval such as 5m nor five fields such as "0 * * * *"`);
  return { fields: parts.map((part, i) => new Set(part.split(",").flatMap((item) => range(item, ...FIELDS[i])))) };
}

function range(item, name, low, high) {
  const match = /^(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:\/([1-9]\d?))?$/.exec(item);
  const from = match?.[1] === undefined ? low : Number(match[1]);
  const to = match?.[2] === undefined ? (match?.[1] === undefined || match[3] ? high : from) : Number(match[2]);
  if (!match || from < low || to > high || from > to) fail(`${item} is no ${name} (${low} to ${high})`);
  const step = Number(match[3] ?? 1);
  return Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, i) => from + i * step);
}

function due(job, now) {
  const when = parse(job.when);
  if (when.every) return now - (job.last ?? job.since) >= when.every;
  const at = new Date(now);
  const values = [at.getUTCMinutes(), at.getUTCHours(), at.getUTCDate(), at.getUTCMonth() + 1, at.getUTCDay()];
  return Math.floor(now / 6e4) !== Math.floor((job.last ?? 0) / 6e4) && when.fields.every((set, i) => set.has(values[i]));
}

const running = new Set();

function start(name, job, now) {
  const jobs = read(JOBS, {});
  write(JOBS, { ...jobs, [name]: { ...job, last: now } });
  if (running.has(name)) return; // never beside itself
  running.add(name);
  let output = "";
  const child = spawn(job.command[0], job.command.slice(1), { stdio: ["ignore", "pipe", "pipe"] });
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes) => (output = (output + bytes).slice(-TAIL)));
  const ended = (exitCode) => {
    if (!running.delete(name)) return;
    const file = path.join(HOME, "runs", `${name}.json`);
    write(file, [...read(file, []), { at: new Date(now).toISOString(), exitCode, output }].slice(-KEPT));
  };
  child.once("error", (error) => {
    output += error.message;
    ended(127);
  });
  child.once("close", (code, signal) => ended(code ?? signal));
}

function serve() {
  const mine = { pid: process.pid };
  write(ALIVE, mine);
  setInterval(() => {
    if (read(ALIVE, {}).pid !== mine.pid) process.exit(0); // another one took over, or all of it was removed
    for (const [name, job] of Object.entries(read(JOBS, {}))) if (due(job, Date.now())) start(name, job, Date.now());
  }, 1000);
}

function lives() {
  const { pid } = read(ALIVE, {});
  if (!pid) return false;
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("cron.mjs");
  } catch {
    return false; // it ended
  }
}

/** The keeper of the time runs; true when it does within two seconds. */
function ensure() {
  if (!lives()) {
    fs.rmSync(ALIVE, { force: true });
    spawn(process.execPath, [fileURLToPath(import.meta.url), "serve"], { detached: true, stdio: "ignore", cwd: "/" }).unref();
  }
  for (let i = 0; i < 200 && !lives(); i++) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
  return lives();
}

const [verb, name, ...rest] = process.argv.slice(2);
switch (verb) {
  case "add": {
    const [when, dashes, ...command] = rest;
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(name ?? "") || dashes !== "--" || command.length === 0) fail(USAGE);
    parse(when);
    write(JOBS, { ...read(JOBS, {}), [name]: { when, command, since: Date.now() } });
    if (!ensure()) fail("the job is kept, and what keeps the time does not start");
    break;
  }
  case "remove": {
    const { [name]: was, ...others } = read(JOBS, {});
    if (!was) fail(`there is no job ${name}`);
    write(JOBS, others);
    break;
  }
  case "list":
    if (!ensure()) fail("what keeps the time does not start");
    for (const [job, { when, command }] of Object.entries(read(JOBS, {}))) process.stdout.write(`${job}\t${when}\t${command.join(" ")}\n`);
    break;
  case "runs":
    for (const run of read(path.join(HOME, "runs", `${path.basename(name ?? "")}.json`), [])) process.stdout.write(`${JSON.stringify(run)}\n`);
    break;
  case "check":
    if (!ensure()) fail("what keeps the time does not start");
    process.stdout.write("ok\n");
    break;
  case "serve":
    serve();
    break;
  default:
    fail(USAGE);
}
