// Programs, and processes with everything below them, by /proc. Without /proc only the process group is reached.
import fs from "node:fs";
import path from "node:path";

const FOR_NODE = "#!/usr/bin/env node\n";

/** A command by the path of its program, as the keeper's own PATH has it: a PATH that is declared is for the tools of what is started,
 * and is looked into only for what is nowhere else. A script for Node is given to the Node that runs this. */
export function byPath([program, ...rest], declared, cwd) {
  const found = program.includes("/") ? program : (inPath(program, process.env.PATH) ?? inPath(program, declared) ?? program);
  return [...(isForNode(path.resolve(cwd, found)) ? [process.execPath] : []), found, ...rest];
}

function inPath(program, directories = "") {
  return directories
    .split(":")
    .filter(path.isAbsolute)
    .map((directory) => path.join(directory, program))
    .find(isProgram);
}

function isProgram(place) {
  try {
    fs.accessSync(place, fs.constants.X_OK);
    return fs.statSync(place).isFile();
  } catch {
    return false;
  }
}

function isForNode(program) {
  if (!isProgram(program)) return false;
  try {
    const file = fs.openSync(program, "r");
    try {
      const begin = Buffer.alloc(FOR_NODE.length);
      return fs.readSync(file, begin) === begin.length && begin.toString("latin1") === FOR_NODE;
    } finally {
      fs.closeSync(file);
    }
  } catch {
    return false; // it is not ours to read; whether it can be run is told by its start
  }
}

function stat(pid) {
  let text;
  try {
    text = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined; // it ended, or there is no /proc
  }
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0], parent: Number(fields[1]), group: Number(fields[2]), startTicks: Number(fields[19]), cpu: fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) };
}

/** Tells one process from a later one of the same number; undefined when it does not run. */
export function startTicks(pid) {
  const found = stat(pid);
  return found && found.state !== "Z" ? found.startTicks : undefined;
}

/** A signal to a process, or to a group by its negative number. One that has ended already needs none. */
export function signalQuietly(target, signal) {
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

/** What all processes below this one have used so far: `cpu` in ticks, with children that ended; `io` in bytes read and written. */
export function usageBelow(root) {
  const { all, stats } = family(root);
  let cpu = 0;
  let io = 0;
  for (const pid of all.slice(1)) {
    cpu += stats.get(pid)?.cpu ?? 0;
    try {
      for (const [, bytes] of fs.readFileSync(`/proc/${pid}/io`, "utf8").matchAll(/^[rw]char: (\d+)/gm)) io += Number(bytes);
    } catch {
      // it ended, or is not ours to look into
    }
  }
  return { cpu, io };
}

/** SIGKILL to a process, its group, and all its descendants with their groups (a tool of pi runs in a group of its own). */
export function killTree(root) {
  const { all, stats } = family(root);
  const own = stat(process.pid)?.group;
  for (const pid of all) {
    const group = pid === root ? (stats.get(pid)?.group ?? pid) : stats.get(pid)?.group;
    if (group && group !== own && all.includes(group)) signalQuietly(-group, "SIGKILL");
    signalQuietly(pid, "SIGKILL");
  }
}

/** The processes below one, those further down later. */
export function below(root) {
  return family(root).all.slice(1);
}

/** A process and its descendants, itself first, and what /proc says of every process. */
function family(root) {
  const children = new Map();
  const stats = new Map();
  let names = [];
  try {
    names = fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  } catch {
    // no /proc on this system
  }
  for (const name of names) {
    const found = stat(name);
    if (!found) continue;
    stats.set(Number(name), found);
    children.set(found.parent, [...(children.get(found.parent) ?? []), Number(name)]);
  }
  const all = [root];
  for (let i = 0; i < all.length; i++) all.push(...(children.get(all[i]) ?? []));
  return { all, stats };
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
