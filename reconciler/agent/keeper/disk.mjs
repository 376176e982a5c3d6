// What the keeper writes to disk: small files replaced atomically, and append-only logs that survive a kill at any byte.
import fs from "node:fs";
import path from "node:path";

/** An answer that is an error by design; `code` is part of the protocol, `extra` goes with it. */
export class Refusal extends Error {
  constructor(code, message, extra = {}) {
    super(message);
    this.code = code;
    this.extra = extra;
  }
}

/** Things that went wrong and were survived; told in every hello. */
export const counters = Object.create(null);
export function count(name) {
  counters[name] = (counters[name] ?? 0) + 1;
}

export function sizeOf(file) {
  return fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

export function writeAll(fd, data, at) {
  const bytes = Buffer.isBuffer(data) ? data : Buffer.from(data);
  for (let done = 0; done < bytes.length; ) {
    done += fs.writeSync(fd, bytes, done, bytes.length - done, at === undefined ? undefined : at + done);
  }
}

function syncDirectory(directory) {
  const fd = fs.openSync(directory, "r");
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** Durable when it returns: the old content or the new one, never a mixture. */
export function writeAtomic(file, data, mode = 0o600) {
  const next = `${file}.new`;
  const fd = fs.openSync(next, "w", mode);
  try {
    writeAll(fd, data);
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
  commit(next, file);
}

/** Make a finished, synced temporary file the real one. */
export function commit(temporary, file) {
  fs.renameSync(temporary, file);
  syncDirectory(path.dirname(file));
}

/** The parsed content, or undefined when there is no such file. */
export function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8"));
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw new Error(`${file} is damaged: ${error.message}`);
  }
}

/** What pi finds when it starts: its directories, and in its settings how it is to shorten its conversation. The rest of its settings
 * is left as it is; settings that are no JSON object are left too, and what pi says it has will tell. */
export function prepare({ workDir, agentDir, sessionFile, compaction }) {
  for (const directory of [workDir, agentDir, path.dirname(sessionFile)]) fs.mkdirSync(directory, { recursive: true });
  if (!compaction) return;
  const file = path.join(agentDir, "settings.json");
  try {
    const settings = readJson(file) ?? {};
    if (typeof settings !== "object" || Array.isArray(settings)) throw new Error(`${file} is no object`);
    if (JSON.stringify(settings.compaction) !== JSON.stringify(compaction)) writeAtomic(file, JSON.stringify({ ...settings, compaction }, null, 2));
  } catch {
    count("settingsNotSet");
  }
}

/** JSON lines. A torn last line, left by a kill in the middle of a write, is cut off when the log is opened. */
export class AppendLog {
  #fd;

  constructor(file) {
    this.#fd = fs.openSync(file, "a+", 0o600);
    this.size = fs.fstatSync(this.#fd).size;
    const content = Buffer.alloc(this.size);
    for (let done = 0; done < this.size; ) {
      const got = fs.readSync(this.#fd, content, done, this.size - done, done);
      if (got === 0) break;
      done += got;
    }
    const whole = content.lastIndexOf(10) + 1;
    if (whole < this.size) {
      count("tornTailRepaired");
      fs.ftruncateSync(this.#fd, whole);
      this.size = whole;
    }
    this.found = [];
    for (const line of content.toString("utf8", 0, whole).split("\n")) {
      if (!line) continue;
      try {
        this.found.push(JSON.parse(line));
      } catch {
        count("damagedLine"); // a power cut can leave such a line; the ones around it are good
      }
    }
  }

  /** Appends one record, all of it or nothing; `sync`: on the disk itself when this returns. */
  append(record, sync) {
    const bytes = Buffer.from(`${JSON.stringify(record)}\n`);
    try {
      writeAll(this.#fd, bytes);
    } catch (error) {
      try {
        fs.ftruncateSync(this.#fd, this.size);
      } catch {
        count("tornTailLeft"); // repaired when the log is opened again
      }
      throw error;
    }
    this.size += bytes.length;
    if (sync) fs.fdatasyncSync(this.#fd);
  }

  close() {
    fs.closeSync(this.#fd);
  }
}

/** The keeper's own facts: highest epoch, the machine it belongs to, how pi was last started and ended. */
export class State {
  #file;
  #timer;

  constructor(directory) {
    this.#file = path.join(directory, "state.json");
    this.value = readJson(this.#file) ?? { epoch: 0, process: { state: "none" } };
  }

  /** Durable when it returns, or nothing has changed and it throws. Fields set to undefined are removed. */
  put(changes) {
    const next = { ...this.value, ...changes };
    writeAtomic(this.#file, JSON.stringify(next));
    this.value = next;
  }

  /** For what has happened already, and must not end the keeper where the disk is full: known at once, durable soon. */
  note(changes) {
    this.value = { ...this.value, ...changes };
    clearTimeout(this.#timer);
    try {
      this.put({});
    } catch {
      count("stateNotWritten");
      this.#timer = setTimeout(() => this.note({}), 1000);
    }
  }
}

/** The last words of a program: two files of at most `limit` bytes each, and their tail. */
export class TailFile {
  #file;
  #limit;

  constructor(file, limit = 1 << 16) {
    this.#file = file;
    this.#limit = limit;
  }

  add(bytes) {
    try {
      if (sizeOf(this.#file) + bytes.length > this.#limit) {
        if (sizeOf(this.#file) > 0) fs.renameSync(this.#file, `${this.#file}.1`);
        bytes = bytes.subarray(-this.#limit);
      }
      fs.appendFileSync(this.#file, bytes, { mode: 0o600 });
    } catch {
      count("stderrNotWritten"); // a full disk; pi's pipe must be drained all the same
    }
  }

  clear() {
    for (const file of [this.#file, `${this.#file}.1`]) fs.rmSync(file, { force: true });
  }

  tail(limit = 4096) {
    const parts = [];
    for (const file of [`${this.#file}.1`, this.#file]) {
      try {
        parts.push(fs.readFileSync(file));
      } catch (error) {
        if (error.code !== "ENOENT") count("stderrNotRead");
      }
    }
    return Buffer.concat(parts).subarray(-limit).toString("utf8");
  }
}
