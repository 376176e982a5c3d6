// A boundary of the operating system around pi and what it starts: bubblewrap gives it file systems of its own, of which only declared
// places can be written to, its own processes, no capability, and, where hosts are declared, no network but a proxy of the keeper.
import { createHash } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Refusal, writeAtomic } from "./disk.mjs";
import { PORT, SOCKET } from "./forward.mjs";
import { Proxy } from "./proxy.mjs";
import { below } from "./processes.mjs";

const SMALL = String(64 << 20); // bytes of what is private to one boundary and gone with it
const OPEN = ["bin", "opt", "keeper"]; // of the keeper's directory: what pi is started from
const NOTHING = { "settings.json": "{}\n", "models.json": '{"providers":{}}\n' }; // where there are none, none can be made
const SYSTEM = ["/proc", "/sys", "/dev", "/run", "/etc", "/usr", "/boot"];
const PROXIED = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];
const HIDDEN = ["/run", "/tmp", "/var/tmp", "/dev"];
const covers = (upper, lower) => lower === upper || upper === "/" || lower.startsWith(`${upper}/`);
const list = (value) => (Array.isArray(value) ? value.map(String) : []);
let sockets = 0;

/** The same digest as the controller makes of a declaration. */
export function hashOf({ writable, hidden, network }) {
  const whole = JSON.stringify([list(writable), list(hidden), network === undefined ? null : list(network)]);
  return createHash("sha256").update(whole).digest("hex").slice(0, 16);
}

export class Sandbox {
  #declared;
  #directory;
  #proxy;
  #socket;
  #sockets; // where the keeper listens
  #writable = new Set(); // mount points that may be written to
  pinned = new Set(); // files that it sees as they are, and not what later takes their place

  /** `declared`: {writable, hidden, network, workDir, agentDir, sessionDir}; `own`: the keeper's {directory, sockets}; `env`: of what is
   * started in it; `refused(what, told)` is told what it denies. Close it when that has ended. Throws where it can't be made. */
  static async over(declared, own, env, refused) {
    const made = new Sandbox();
    made.#declared = { ...declared, writable: list(declared.writable), hidden: list(declared.hidden) };
    made.#directory = fs.realpathSync(own.directory);
    made.hash = hashOf(declared);
    made.program = found(path.join(made.#directory, "bin"));
    made.#sockets = own.sockets;
    if (declared.network !== undefined) {
      made.#socket = path.join(own.sockets, `proxy-${++sockets}`);
      made.#proxy = new Proxy(list(declared.network), (told) => refused("network", told));
      await made.#proxy.listen(made.#socket);
    }
    try {
      made.mounts = made.#mounts(env.HOME ?? os.homedir());
    } catch (error) {
      made.close();
      throw error;
    }
    return made;
  }

  close() {
    this.#proxy?.close();
    if (this.#socket) fs.rmSync(this.#socket, { force: true });
  }

  /** Whether the way out of it is a proxy. */
  get outwards() {
    return this.#proxy !== undefined;
  }

  /** The command that starts `argv` in it, in the work dir or another directory. */
  command(argv, cwd = this.#declared.workDir) {
    const network = this.#proxy ? ["--unshare-net"] : [];
    const apart = ["--die-with-parent", "--unshare-pid", "--unshare-ipc", "--unshare-uts", ...network, "--cap-drop", "ALL"];
    return [this.program, ...apart, ...this.mounts, "--chdir", fs.realpathSync(cwd), "--", ...argv];
  }

  /** What is added to the environment in there. */
  env() {
    if (!this.#proxy) return {};
    const proxied = Object.fromEntries(PROXIED.map((name) => [name, `http://127.0.0.1:${PORT}`]));
    const here = "localhost,127.0.0.1,::1";
    return { ...proxied, NO_PROXY: here, no_proxy: here, NODE_USE_ENV_PROXY: "1", RECONCILER_ALLOWED: list(this.#declared.network).join(" ") };
  }

  #mounts(home) {
    const { workDir, agentDir, sessionDir } = this.#declared;
    const temporary = path.join(this.#directory, "tmp");
    fs.mkdirSync(temporary, { recursive: true });
    fs.chmodSync(temporary, 0o1777);
    const args = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"];
    for (const place of ["/tmp", "/var/tmp"]) if (isDirectory(place)) args.push(...this.#bind(temporary, place));
    const empty = [this.#directory];
    if (isDirectory("/run")) args.push(...this.#empty("/run"));
    const sockets = fs.realpathSync(this.#sockets);
    if (![...HIDDEN, this.#directory].some((place) => covers(place, sockets))) {
      args.push(...this.#empty(sockets));
      empty.push(sockets);
    }
    args.push(...this.#empty(this.#directory), ...this.#reopened([...HIDDEN, sockets, this.#directory]));
    for (const [kind, place] of this.#places(home)) {
      if (kind === "writable") args.push(...this.#bind(place, place));
      else if (isDirectory(place)) args.push(...this.#empty(place));
      else args.push("--ro-bind", "/dev/null", place);
      if (kind === "hidden" && isDirectory(place)) empty.push(place);
    }
    args.push(...this.#settings(fs.realpathSync(agentDir), fs.realpathSync(sessionDir)));
    if (this.#socket) args.push("--ro-bind", this.#socket, SOCKET);
    for (const place of empty) {
      args.push("--remount-ro", place);
      this.#writable.delete(place);
    }
    this.#declared.workDir = fs.realpathSync(workDir);
    return args;
  }

  #bind(from, to) {
    this.#writable.add(to);
    return ["--bind", from, to];
  }

  #empty(place) {
    this.#writable.add(place);
    return ["--size", SMALL, "--tmpfs", place];
  }

  /** Declared places in the order in which they are laid over one another: what is deeper comes later. */
  #places(home) {
    const { workDir, agentDir, writable, hidden } = this.#declared;
    const guarded = [this.#directory, agentDir, home].map(resolved);
    const places = [];
    const all = [workDir, ...writable];
    for (const name of all) {
      // What another one holds is writable anyway, and what its agent made a link of must not be followed.
      if (all.some((other) => other !== name && covers(other, name))) continue;
      if (!fs.existsSync(name)) fs.mkdirSync(name, { recursive: true });
      const place = fs.realpathSync(name);
      const bad = guarded.find((one) => covers(place, one)) ?? SYSTEM.find((one) => covers(place, one) || (covers(one, place) && one !== "/dev"));
      const inner = covers(resolved(agentDir), place) || (covers(this.#directory, place) && !covers(path.join(this.#directory, "tree"), place));
      if (bad || inner) throw new Refusal("SandboxInvalid", `${name} can't be writable for an agent in a sandbox: ${bad ?? "what guards it"} lies there; name a directory below the home or elsewhere`);
      places.push(["writable", place]);
    }
    for (const name of hidden) {
      if (fs.existsSync(name)) places.push(["hidden", fs.realpathSync(name)]);
    }
    return places.sort(([, a], [, b]) => a.split("/").length - b.split("/").length);
  }

  /** What lies under what was just covered, and is needed all the same: the programs, and how names are resolved. */
  #reopened(covered) {
    const args = [];
    const hidden = (place) => covered.some((one) => covers(one, place));
    const again = (from, to) => {
      if (fs.existsSync(from) && hidden(to)) args.push("--ro-bind", fs.realpathSync(from), to);
    };
    for (const name of OPEN) {
      const place = path.join(this.#directory, name);
      again(place, fs.lstatSync(place, { throwIfNoEntry: false })?.isSymbolicLink() ? fs.realpathSync(place) : place);
    }
    again(import.meta.dirname, import.meta.dirname);
    again(process.execPath, process.execPath);
    again(this.program, this.program);
    const programs = path.join(this.#directory, "bin");
    for (const name of isDirectory(programs) ? fs.readdirSync(programs) : []) {
      const target = fs.lstatSync(path.join(programs, name)).isSymbolicLink() ? fs.readlinkSync(path.join(programs, name)) : "";
      if (path.isAbsolute(target)) again(packageOf(target), packageOf(target));
    }
    again("/etc/resolv.conf", fs.existsSync("/etc/resolv.conf") ? fs.realpathSync("/etc/resolv.conf") : "/");
    return args;
  }

  /** pi takes locks in its own directory, so it gets one that ends with it; what is declared there can't be written or replaced. */
  #settings(agentDir, sessionDir) {
    const args = this.#empty(agentDir);
    for (const name of fs.readdirSync(agentDir)) {
      const place = path.join(agentDir, name);
      if (covers(place, sessionDir) || !fs.existsSync(place)) continue;
      args.push("--ro-bind", fs.realpathSync(place), place);
      if (fs.statSync(place).isFile()) this.pinned.add(place).add(path.join(this.#declared.agentDir, name));
    }
    for (const [name, content] of Object.entries(NOTHING)) {
      if (fs.existsSync(path.join(agentDir, name))) continue;
      const empty = path.join(this.#directory, `no-${name}`);
      writeAtomic(empty, content);
      args.push("--ro-bind", empty, path.join(agentDir, name));
    }
    return [...args, ...this.#bind(sessionDir, sessionDir)];
  }

  /** {pid} of the process that is in it, as the kernel says from outside, or what is {wrong}. `outer`: the one that made the boundary. */
  held(outer) {
    const pid = below(outer)[1] ?? outer; // it made the first process in there, and that one made this
    const wrong = [];
    const read = (name) => fs.readFileSync(`/proc/${pid}/${name}`, "utf8");
    const apart = (kind) => fs.readlinkSync(`/proc/${pid}/ns/${kind}`) !== fs.readlinkSync(`/proc/self/ns/${kind}`);
    try {
      for (const kind of ["pid", "mnt", ...(this.#proxy ? ["net"] : [])]) if (!apart(kind)) wrong.push(`it shares the ${kind} namespace`);
      if (!/^CapEff:\s+0+$/m.test(read("status"))) wrong.push("it has capabilities");
      if (this.#proxy) {
        const interfaces = [...read("net/dev").matchAll(/^\s*([^\s:|]+):/gm)].map(([, name]) => name);
        if (interfaces.some((name) => name !== "lo")) wrong.push(`it has the interfaces ${interfaces.join(", ")}`);
      }
      const fine = (place) => this.#writable.has(place) || covers("/dev", place) || covers("/proc", place);
      for (const line of read("mountinfo").trimEnd().split("\n")) {
        const [, , , , place, options] = line.split(" ");
        const name = place.replace(/\\(\d{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));
        if (!options.split(",").includes("ro") && !fine(name)) wrong.push(`it may write to ${name}`);
      }
      if (fs.existsSync(`/proc/${pid}/root${this.#directory}/state.json`)) wrong.push("it sees the keeper's files");
    } catch (error) {
      wrong.push(`it can't be looked into: ${error.code ?? error.message}`);
    }
    return wrong.length ? { wrong: `the sandbox of pi does not hold: ${wrong.slice(0, 5).join("; ")}; pi was ended` } : { pid };
  }

  describe() {
    return { hash: this.hash, network: this.#proxy ? "proxy" : "machine" };
  }
}

/** bubblewrap, by its path: where no agent can have put it. */
function found(own) {
  for (const place of [own, "/usr/bin", "/usr/local/bin"]) if (fs.existsSync(path.join(place, "bwrap"))) return path.join(place, "bwrap");
  throw new Refusal("SandboxMissing", "the profile declares a sandbox, and bubblewrap is not on this machine: add a step that installs it, such as apt-get install -y bubblewrap");
}

const isDirectory = (place) => fs.statSync(place, { throwIfNoEntry: false })?.isDirectory() ?? false;

function resolved(place) {
  return fs.existsSync(place) ? fs.realpathSync(place) : place;
}

/** The directory of the npm package that a program belongs to; the program itself where there is none. */
function packageOf(program) {
  for (let place = path.dirname(program); place !== "/"; place = path.dirname(place)) {
    if (fs.existsSync(path.join(place, "package.json")) && fs.existsSync(path.join(place, "node_modules"))) return place;
  }
  return program;
}
