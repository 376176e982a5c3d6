// The socket: JSON lines, one answer to each request, and events to those who subscribed.
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { Refusal, count, counters, sizeOf } from "./disk.mjs";
import * as machine from "./machine.mjs";
import { checked, isPrompt } from "./commands.mjs";
import { Execs } from "./execs.mjs";
import { Lines } from "./processes.mjs";

export const PROTOCOLS = [1];
const REQUEST_LIMIT = 256 << 20;
const BACKLOG_LIMIT = 64 << 20;

/** One connected client. */
class Peer {
  #socket;

  constructor(socket) {
    this.#socket = socket;
    this.vmId = undefined;
    this.execs = new Execs(
      (message) => this.write(JSON.stringify(message)),
      () => socket.writableLength,
    );
    socket.on("drain", () => this.execs.drained());
  }

  write(line) {
    if (this.#socket.destroyed) return;
    // Who does not read is cut off, never pi; it comes back and asks for what it missed.
    if (this.#socket.writableLength > BACKLOG_LIMIT) {
      count("slowClientCut");
      this.#socket.destroy();
      return;
    }
    this.#socket.write(`${line}\n`);
  }
}

export class Keeper {
  #version;
  #directory;
  #state;
  #events;
  #pi;
  #commands;
  #memory;
  #quit;

  constructor({ version, directory, state, events, pi, commands, memory, quit }) {
    this.#version = version;
    this.#directory = directory;
    this.#state = state;
    this.#events = events;
    this.#pi = pi;
    this.#commands = commands;
    this.#memory = memory;
    this.#quit = quit;
  }

  /** Resolves when it listens; the socket is for this user alone. */
  listen(socketPath) {
    prepare(path.dirname(socketPath));
    fs.rmSync(socketPath, { force: true });
    const server = net.createServer({ allowHalfOpen: false }, (socket) => this.#accept(socket));
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      const umask = process.umask(0o177); // bind makes the socket's mode; a chmod afterwards would come too late
      server.listen(socketPath, () => resolve(server));
      process.umask(umask);
    });
  }

  #accept(socket) {
    const peer = new Peer(socket);
    const lines = new Lines((line) => this.#request(peer, line));
    socket.on("data", (bytes) => {
      lines.add(bytes);
      if (lines.held > REQUEST_LIMIT) socket.destroy();
    });
    socket.on("error", () => count("clientBroke"));
    socket.on("close", () => {
      this.#events.unsubscribe(peer);
      peer.execs.end();
    });
  }

  async #request(peer, line) {
    let id;
    try {
      const request = parsed(line);
      id = request.id;
      const op = OPS[request.op];
      if (!op || !Object.hasOwn(OPS, request.op)) throw new Refusal("UnknownOp", `there is no operation ${request.op}`);
      this.#admit(peer, request);
      const result = await op.call(this, request, peer);
      peer.write(JSON.stringify({ id, ok: true, ...result }));
    } catch (error) {
      const known = error instanceof Refusal;
      if (!known) count("failedRequest");
      const code = known ? error.code : typeof error.code === "string" ? "System" : "Internal";
      peer.write(JSON.stringify({ id, error: { code, message: String(error.message), ...(known ? error.extra : {}) } }));
    }
  }

  /** Who may ask: after `hello`, for this machine, with an epoch that is not outdated. */
  #admit(peer, { op, epoch }) {
    if (op === "ping" || op === "hello") return;
    if (peer.vmId === undefined) throw new Refusal("HelloFirst", "say hello first");
    if (peer.vmId !== this.#state.value.vmId && op !== "claim") throw new Refusal("Foreign", "this keeper belongs to another machine; it waits for a claim");
    if (op !== "claim") this.#fence(epoch);
  }

  #fence(epoch) {
    if (!Number.isSafeInteger(epoch) || epoch < 0) throw new Refusal("BadRequest", "epoch is missing");
    const known = this.#state.value.epoch;
    if (epoch < known) throw new Refusal("StaleEpoch", `epoch ${epoch} is below ${known}`, { epoch: known });
    if (epoch > known) {
      this.#state.put({ epoch });
      this.#events.record("epoch", { epoch });
    }
  }

  #facts(responsive) {
    const { epoch, vmId } = this.#state.value;
    return {
      keeperVersion: this.#version,
      epoch,
      vmId,
      seq: this.#events.seq,
      outputBlocked: this.#pi.blocked,
      memory: this.#memory.describe(),
      process: this.#pi.describe(responsive, this.#commands.unanswered),
    };
  }

  hello({ protocols, epoch, vmId }, peer) {
    if (!Array.isArray(protocols) || !protocols.some((one) => PROTOCOLS.includes(one))) {
      throw new Refusal("NoCommonProtocol", `this keeper speaks ${PROTOCOLS.join(", ")}`, { protocols: PROTOCOLS });
    }
    if (typeof vmId !== "string" || !vmId) throw new Refusal("BadRequest", "vmId is missing");
    const owner = this.#state.value.vmId;
    if (owner === undefined) {
      this.#fence(epoch);
      this.#state.put({ vmId });
    } else if (owner === vmId) {
      this.#fence(epoch);
    }
    peer.vmId = vmId;
    const foreign = this.#state.value.vmId !== vmId;
    return { protocol: PROTOCOLS.at(-1), foreign, counters, ...this.#facts(false) };
  }

  /** A copied machine becomes one of its own: the parent's pi ends here, its keys stay used, and the epoch starts anew. */
  async claim({ epoch }, peer) {
    if (this.#state.value.vmId === peer.vmId) {
      this.#fence(epoch);
      return {};
    }
    if (!Number.isSafeInteger(epoch) || epoch < 0) throw new Refusal("BadRequest", "epoch is missing");
    await this.#pi.stop(1000);
    this.#state.put({ vmId: peer.vmId, epoch, process: { state: "none" } });
    this.#events.record("claimed", { vmId: peer.vmId, epoch });
    return {};
  }

  /** pi's state first, then the file: a settled state comes with everything that had settled. */
  async observe({ sessionFile, offset, max }) {
    const responsive = await this.#pi.probe();
    const facts = this.#facts(responsive);
    const chunk = machine.bytesFrom(sessionFile, offset, max);
    return { ...facts, sessionSize: sizeOf(sessionFile), chunk: chunk.toString("base64"), live: this.#pi.live };
  }

  async call({ command, deadlineMs }) {
    if (isPrompt(checked(command))) throw new Refusal("BadRequest", "prompts are sent under a key");
    return { response: await this.#pi.call(command, deadlineMs) };
  }

  quit(_, peer) {
    if (this.#pi.up) throw new Refusal("PiRuns", "pi runs; the keeper is replaced only while it does not");
    setImmediate(() => this.#quit());
    return {};
  }

  subscribe({ after, deltas }, peer) {
    this.#events.subscribe(peer, after, deltas === true);
    return { seq: this.#events.seq };
  }

  get pi() {
    return this.#pi;
  }

  get commands() {
    return this.#commands;
  }

  get memory() {
    return this.#memory;
  }

  get directory() {
    return this.#directory;
  }
}

const OPS = {
  ping: () => ({}),
  hello: Keeper.prototype.hello,
  claim: Keeper.prototype.claim,
  observe: Keeper.prototype.observe,
  call: Keeper.prototype.call,
  quit: Keeper.prototype.quit,
  subscribe: Keeper.prototype.subscribe,
  start({ launch }) {
    return this.pi.start(launch);
  },
  stop({ graceMs }) {
    return this.pi.stop(graceMs);
  },
  async send({ key, command, waitMs, rules }) {
    if (typeof key !== "string" || !key) throw new Refusal("BadRequest", "key is missing");
    const hold = rules && this.pi.guard.prepared(rules); // those of the task: they hold from before its prompt, and only if it is handed on
    return { verdict: await this.commands.send(key, command, waitMs, hold) };
  },
  verdict({ key }) {
    return { verdict: this.commands.verdict(key) };
  },
  mark({ name, value }) {
    machine.mark(this.directory, { [name]: value });
    return {};
  },
  run(request) {
    return machine.run(request, this.pi.workDir, (declared, env) => this.pi.boundary(declared, env));
  },
  exec(request, peer) {
    return peer.execs.start({ ...request, cwd: machine.commandIn(request, this.pi.workDir) });
  },
  "exec.input"(request, peer) {
    return peer.execs.input(request);
  },
  "exec.signal"(request, peer) {
    return peer.execs.signal(request);
  },
  "files.write"({ parts, workDir, marks }) {
    machine.writeFiles(parts, workDir ?? this.pi.workDir, this.pi.sessionFile, this.pi.pinned);
    if (marks) machine.mark(this.directory, marks); // only once the files are there for good
    return { marked: Boolean(marks) };
  },
  inside() {
    return this.pi.inside();
  },
  rules({ rules }) {
    return { hash: this.pi.guard.rules(rules) };
  },
  answer({ question, allow, reason }) {
    return this.pi.guard.answered(String(question), allow === true, reason);
  },
  "memory.read"() {
    return { memory: this.memory.read() };
  },
  "memory.put"(request) {
    return { memory: this.memory.put(request) };
  },
  "files.digest"({ paths, workDir }) {
    return machine.digests(paths, workDir ?? this.pi.workDir);
  },
  "file.size"({ path: name }) {
    return machine.fileSize(name, this.pi.workDir);
  },
  "dir.digest"({ path: name }) {
    return machine.digest(name, this.pi.workDir);
  },
  "file.prefixes"({ path: name, ends, blanks }) {
    return machine.prefixes(name, this.pi.workDir, ends, blanks);
  },
  "file.read"({ path: name, offset, limit }) {
    return machine.readFile(name, this.pi.workDir, offset, limit);
  },
};

function parsed(line) {
  let request;
  try {
    request = JSON.parse(line);
  } catch {
    throw new Refusal("BadRequest", "not JSON");
  }
  if (typeof request !== "object" || request === null || Array.isArray(request)) throw new Refusal("BadRequest", "not a JSON object");
  return request;
}

/** The socket's directory is ours alone, or nothing listens. */
function prepare(directory) {
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  const found = fs.lstatSync(directory);
  if (!found.isDirectory() || found.uid !== process.getuid() || (found.mode & 0o022) !== 0) {
    throw new Error(`${directory} is not a directory that only this user may write to`);
  }
}
