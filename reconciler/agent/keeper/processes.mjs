// Processes and everything below them, by /proc. Without /proc only the process group is reached.
import fs from "node:fs";

function stat(pid) {
  let text;
  try {
    text = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined; // it ended, or there is no /proc
  }
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0], parent: Number(fields[1]), group: Number(fields[2]), startTicks: Number(fields[19]) };
}

/** Tells one process from a later one of the same number; undefined when it does not run. */
export function startTicks(pid) {
  const found = stat(pid);
  return found && found.state !== "Z" ? found.startTicks : undefined;
}

function signalQuietly(target, signal) {
  try {
    process.kill(target, signal);
  } catch {
    // it ended meanwhile: that is what was wanted
  }
}

/** SIGKILL to what is left of a group whose leader has ended. */
export function killGroup(leader) {
  signalQuietly(-leader, "SIGKILL");
}

/** SIGKILL to a process, its group, and all its descendants with their groups (a tool of pi runs in a group of its own). */
export function killTree(root) {
  const children = new Map();
  const groups = new Map();
  let names = [];
  try {
    names = fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  } catch {
    // no /proc on this system
  }
  for (const name of names) {
    const found = stat(name);
    if (!found) continue;
    groups.set(Number(name), found.group);
    children.set(found.parent, [...(children.get(found.parent) ?? []), Number(name)]);
  }
  const doomed = [root];
  for (let i = 0; i < doomed.length; i++) doomed.push(...(children.get(doomed[i]) ?? []));
  const own = stat(process.pid)?.group;
  for (const pid of doomed) {
    const group = pid === root ? (groups.get(pid) ?? pid) : groups.get(pid);
    if (group && group !== own && doomed.includes(group)) signalQuietly(-group, "SIGKILL");
    signalQuietly(pid, "SIGKILL");
  }
}

/** The end of a stream of bytes, bounded. */
export class Tail {
  #parts = [];
  #size = 0;
  #limit;

  constructor(limit) {
    this.#limit = limit;
  }

  add(bytes) {
    this.#parts.push(bytes);
    this.#size += bytes.length;
    if (this.#size > 4 * this.#limit) {
      this.#parts = [Buffer.concat(this.#parts).subarray(-this.#limit)];
      this.#size = this.#parts[0].length;
    }
  }

  text() {
    return Buffer.concat(this.#parts).subarray(-this.#limit).toString("utf8");
  }
}

/** Calls `onLine` with each line of a byte stream, however long it is. */
export class Lines {
  #parts = [];

  constructor(onLine) {
    this.onLine = onLine;
    this.held = 0;
  }

  add(bytes) {
    let from = 0;
    for (let end; (end = bytes.indexOf(10, from)) !== -1; from = end + 1) {
      const piece = bytes.subarray(from, end);
      const line = this.#parts.length ? Buffer.concat([...this.#parts, piece]) : piece;
      this.#parts = [];
      this.held = 0;
      this.onLine(line.toString("utf8"));
    }
    if (from < bytes.length) {
      this.#parts.push(bytes.subarray(from));
      this.held += bytes.length - from;
    }
  }
}
