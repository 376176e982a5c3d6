// Files, marks and commands on this machine. Nothing here goes through a shell: paths and arguments are data.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { Refusal, commit, count, overwrite, readJson, sizeOf, writeAll, writeAtomic } from "./disk.mjs";
import { OUTWARDS } from "./forward.mjs";
import { Tail, killTree } from "./processes.mjs";

const READ_LIMIT = 4 << 20;
const TAIL = 4096;
const DIGEST_LIMIT = 50_000;
const HASHED_LIMIT = 16 << 20;

function located(name, workDir) {
  if (typeof name !== "string" || !name || name.includes("\0")) throw new Refusal("BadRequest", "a path is missing or has a NUL in it");
  if (path.isAbsolute(name)) return name;
  if (!workDir) throw new Refusal("BadRequest", `the relative path ${name} needs a work dir, and none is known yet`);
  return path.join(workDir, name);
}

/** Parts of files: {path, mode, data (base64), upload, offset, done}. A file appears whole, with its last part. `taken`: the
 * session file of a pi that runs, which is that pi's alone: a restore that arrives late must not undo what was said since. `pinned`:
 * files of which a boundary shows pi these very ones, and none that takes their place. */
export function writeFiles(parts, workDir, taken, pinned) {
  if (workDir) fs.mkdirSync(workDir, { recursive: true });
  for (const part of parts) {
    const file = located(part.path, workDir);
    if (taken && path.resolve(file) === path.resolve(taken)) throw new Refusal("AlreadyRunning", `pi runs on ${file}`);
    const temporary = `${file}.${part.upload}.new`;
    fs.mkdirSync(path.dirname(file), { recursive: true });
    if (part.offset === 0) fs.rmSync(temporary, { force: true });
    if (part.offset !== sizeOf(temporary)) throw new Refusal("Conflict", `${file} has ${sizeOf(temporary)} bytes so far, not ${part.offset}`);
    try {
      const fd = fs.openSync(temporary, "a", 0o600);
      try {
        writeAll(fd, Buffer.from(part.data, "base64"));
        if (part.done) {
          fs.fchmodSync(fd, part.mode);
          fs.fsyncSync(fd);
        }
      } finally {
        fs.closeSync(fd);
      }
      if (part.done && pinned?.has(file)) overwrite(temporary, file, part.mode);
      else if (part.done) commit(temporary, file);
    } catch (error) {
      fs.rmSync(temporary, { force: true }); // every try has a name of its own: on a full disk they would add up
      throw error;
    }
  }
}

/** {size} of a regular file, or {missing: true}. */
export function fileSize(name, workDir) {
  const found = fs.statSync(located(name, workDir), { throwIfNoEntry: false });
  return found?.isFile() ? { size: found.size } : { missing: true };
}

/** {digest}: one word for all that is below a directory, by names, sizes and times of change, which are only ever compared for
 * being the same; '' where there is too much to look at in reasonable time. */
export function digest(name, workDir) {
  const hash = createHash("sha256");
  const todo = [located(name, workDir)];
  let left = DIGEST_LIMIT;
  while (todo.length) {
    const directory = todo.pop();
    let entries;
    try {
      entries = fs.readdirSync(directory, { withFileTypes: true });
    } catch (error) {
      hash.update(`${directory} ${error.code}\n`); // gone meanwhile, or never there
      continue;
    }
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (left-- <= 0) return { digest: "" };
      const file = path.join(directory, entry.name);
      if (entry.isDirectory()) {
        todo.push(file);
        continue;
      }
      const found = fs.lstatSync(file, { bigint: true, throwIfNoEntry: false });
      hash.update(`${file}\0${found?.size} ${found?.mtimeNs} ${found?.ctimeNs} ${found?.ino}\n`);
    }
  }
  return { digest: hash.digest("hex") };
}

/** Bytes of a regular file as base64, from `offset`, at most `limit`. */
export function readFile(name, workDir, offset, limit) {
  const file = located(name, workDir);
  if (!fs.statSync(file, { throwIfNoEntry: false })?.isFile()) throw new Refusal("NotFound", `${file} is not a regular file`);
  return { data: bytesFrom(file, offset, limit).toString("base64") };
}

/** {path: digest} for each of these files, `missing` where there is none: what is on the disk now, whoever wrote it. */
export function digests(names, workDir) {
  const found = {};
  for (const name of names) {
    const file = located(name, workDir);
    const size = fs.statSync(file, { throwIfNoEntry: false });
    if (!size?.isFile()) found[name] = "missing";
    else if (size.size > HASHED_LIMIT) found[name] = "large";
    else found[name] = createHash("sha256").update(fs.readFileSync(file)).digest("hex");
  }
  return { digests: found };
}

/** {digests}: SHA-256 of the beginnings of a regular file of these rising lengths, as far as it has them; the ranges `blanks`,
 * [offset, length] and rising, count as filled with "~". Reads piecewise: others are served meanwhile. */
export async function prefixes(name, workDir, ends, blanks) {
  const whole = (value) => Number.isSafeInteger(value) && value >= 0;
  const rising = (list) => list.every((value, i) => i === 0 || value > list[i - 1]);
  if (!Array.isArray(ends) || !ends.length || ends.length > 256 || !ends.every(whole) || ends[0] === 0 || !rising(ends)) {
    throw new Refusal("BadRequest", "ends are 1 to 256 rising lengths");
  }
  if (!Array.isArray(blanks) || !blanks.every((b) => Array.isArray(b) && b.length === 2 && b.every(whole)) || !rising(blanks.map((b) => b[0]))) {
    throw new Refusal("BadRequest", "blanks are rising pairs of offset and length");
  }
  const file = located(name, workDir);
  const hash = createHash("sha256");
  const found = [];
  if (!fs.statSync(file, { throwIfNoEntry: false })?.isFile()) return { digests: found };
  let at = 0;
  let blank = 0;
  for await (const piece of fs.createReadStream(file, { end: ends.at(-1) - 1, highWaterMark: 1 << 20 })) {
    const until = at + piece.length;
    while (blank < blanks.length && blanks[blank][0] < until) {
      const [from, length] = blanks[blank];
      piece.fill(0x7e, Math.max(from - at, 0), Math.min(from + length, until) - at);
      if (from + length > until) break; // the rest of it is in the next piece
      blank += 1;
    }
    let done = 0;
    while (found.length < ends.length && ends[found.length] <= until) {
      hash.update(piece.subarray(done, ends[found.length] - at));
      done = ends[found.length] - at;
      found.push(hash.copy().digest("hex"));
    }
    hash.update(piece.subarray(done));
    at = until;
  }
  return { digests: found };
}

/** Nothing of a file that is not there, also of one that its agent removes meanwhile. */
export function bytesFrom(file, offset, limit = READ_LIMIT) {
  const want = Math.max(0, Math.min(limit, READ_LIMIT, sizeOf(file) - offset));
  const content = Buffer.alloc(want);
  if (want === 0) return content;
  let fd;
  try {
    fd = fs.openSync(file, "r");
  } catch (error) {
    if (error.code === "ENOENT") return content.subarray(0, 0);
    throw error;
  }
  try {
    let done = 0;
    while (done < want) {
      const got = fs.readSync(fd, content, done, want - done, offset + done);
      if (got === 0) break;
      done += got;
    }
    return content.subarray(0, done);
  } finally {
    fs.closeSync(fd);
  }
}

/** Done-marks ({name: value}), durable when it returns. */
export function mark(directory, marks) {
  const file = path.join(directory, "marks.json");
  writeAtomic(file, JSON.stringify({ ...readJson(file), ...marks }));
}

const running = new Map();

/** Runs a command: {argv, cwd, env, timeoutMs, sandbox}. Survives the connection that asked for it; asked for again while it runs, the
 * second one gets the result of the first, so that a step cut off by a lost connection never runs beside itself. `boundary(declared,
 * env)` makes the sandbox that it is to run in. */
export function run(command, workDir, boundary) {
  const { argv, env = {}, timeoutMs, sandbox } = command;
  const cwd = commandIn(command, workDir);
  const key = createHash("sha256").update(JSON.stringify([argv, cwd, Object.entries(env).sort(), sandbox])).digest("hex");
  const already = running.get(key);
  if (already) return already;
  const within = sandbox ? bounded(argv, cwd, env, timeoutMs, sandbox, boundary) : execute(argv, cwd, env, timeoutMs);
  const result = within.finally(() => running.delete(key));
  running.set(key, result);
  return result;
}

/** In a boundary as pi's: what an agent wrote runs there too. */
async function bounded(argv, cwd, env, timeoutMs, sandbox, boundary) {
  for (const directory of [sandbox.workDir, sandbox.agentDir, sandbox.sessionDir]) fs.mkdirSync(directory, { recursive: true });
  const made = await boundary(sandbox, env);
  try {
    const out = made.outwards ? [process.execPath, OUTWARDS, ...argv] : argv;
    return await execute(made.command(out, cwd), cwd, { ...env, ...made.env() }, timeoutMs);
  } finally {
    made.close();
  }
}

/** The directory a command is started in; refuses what is no command. */
export function commandIn({ argv, cwd: name }, workDir) {
  if (!Array.isArray(argv) || !argv.length || argv.some((word) => typeof word !== "string" || word.includes("\0"))) {
    throw new Refusal("BadRequest", "argv is a list of strings without NUL");
  }
  const cwd = name ? located(name, workDir) : (workDir ?? "/");
  if (!fs.statSync(cwd, { throwIfNoEntry: false })?.isDirectory()) throw new Refusal("RunFailed", `the directory ${cwd} does not exist`);
  return cwd;
}

function execute(argv, cwd, env, timeoutMs) {
  const begun = performance.now();
  const out = new Tail(TAIL);
  const err = new Tail(TAIL);
  return new Promise((resolve, reject) => {
    const child = spawn(argv[0], argv.slice(1), { cwd, env: { ...process.env, ...env }, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      killTree(child.pid);
    }, timeoutMs);
    child.stdout.on("data", (bytes) => out.add(bytes));
    child.stderr.on("data", (bytes) => err.add(bytes));
    for (const stream of [child.stdout, child.stderr]) stream.on("error", () => count("pipeBroke"));
    child.once("error", (error) => {
      clearTimeout(timer);
      reject(new Refusal("RunFailed", `${argv[0]} can't be run: ${error.code ?? error.message}`));
    });
    child.once("exit", (exitCode, signal) => {
      clearTimeout(timer);
      const finish = () => {
        clearTimeout(patience);
        for (const stream of [child.stdout, child.stderr]) stream.destroy();
        const ended = timedOut ? { timedOut } : { exitCode: exitCode ?? undefined, signal: signal ?? undefined };
        resolve({ ...ended, stdout: out.text(), stderr: err.text(), durationMs: Math.round(performance.now() - begun) });
      };
      const patience = setTimeout(finish, 300); // what it left in the background may hold its pipes open for ever
      child.once("close", finish);
    });
  });
}
