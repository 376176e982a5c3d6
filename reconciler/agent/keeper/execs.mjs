// Commands that a person runs on this machine, their streams carried over the connection that asked for them. They end with it.
import { spawn } from "node:child_process";
import { Refusal, count } from "./disk.mjs";
import { killTree, signalQuietly } from "./processes.mjs";

const MOST = 16;
const AHEAD = 1 << 20; // bytes on their way to a client from which on a command's output waits in its pipe
const SIGNALS = new Set(["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL", "SIGQUIT"]);

/** The commands of one connection. `write(message)` sends a line, `backlog()` tells how many bytes wait to be sent. */
export class Execs {
  #write;
  #backlog;
  #running = new Map();
  #next = 0;
  #waiting = [];

  constructor(write, backlog) {
    this.#write = write;
    this.#backlog = backlog;
  }

  /** Starts one: {argv, cwd, env}; resolves to {exec} when it runs. Output and end follow as lines with that number. */
  start({ argv, cwd, env = {} }) {
    if (this.#running.size >= MOST) throw new Refusal("Busy", `${MOST} commands run already`);
    const number = ++this.#next;
    const child = spawn(argv[0], argv.slice(1), { cwd, env: { ...process.env, ...env }, detached: true, stdio: ["pipe", "pipe", "pipe"] });
    this.#running.set(number, child);
    child.stdin.on("error", () => count("execInputBroke")); // it reads no more; how it ends is told
    for (const [name, stream] of [["out", child.stdout], ["err", child.stderr]]) {
      stream.on("error", () => count("pipeBroke"));
      stream.on("data", (bytes) => {
        this.#write({ exec: number, [name]: bytes.toString("base64") });
        if (this.#backlog() > AHEAD) {
          stream.pause();
          this.#waiting.push(stream);
        }
      });
    }
    return new Promise((resolve, reject) => {
      child.once("spawn", () => resolve({ exec: number }));
      child.once("error", (error) => {
        this.#running.delete(number);
        reject(new Refusal("RunFailed", `${argv[0]} can't be run: ${error.code ?? error.message}`));
      });
      child.once("exit", (exitCode, signal) => {
        const finish = () => {
          clearTimeout(patience);
          if (!this.#running.delete(number)) return;
          this.#write({ exec: number, exit: { exitCode: exitCode ?? undefined, signal: signal ?? undefined } });
        };
        // What it left in the background may hold its pipes open for ever; output that waits for the client is no such thing.
        const later = () => (this.#waiting.length ? setTimeout(again, 300) : finish());
        const again = () => (patience = later());
        let patience = setTimeout(again, 300);
        child.once("close", finish);
      });
    });
  }

  #of(number) {
    const child = this.#running.get(number);
    if (!child) throw new Refusal("NotRunning", `command ${number} does not run`);
    return child;
  }

  /** Bytes for its standard input; resolves when there is room for more. `end`: there is no more. */
  async input({ exec, data, end }) {
    const { stdin } = this.#of(exec);
    if (stdin.destroyed || stdin.writableEnded) return { closed: true };
    if (data && !stdin.write(Buffer.from(data, "base64"))) {
      await new Promise((resolve) => {
        for (const event of ["drain", "close", "error"]) stdin.once(event, resolve);
      });
    }
    if (end) stdin.end();
    return {};
  }

  signal({ exec, signal }) {
    if (!SIGNALS.has(signal)) throw new Refusal("BadRequest", `signal ${signal} is not sent`);
    const child = this.#of(exec);
    if (signal === "SIGKILL") killTree(child.pid);
    else signalQuietly(-child.pid, signal);
    return {};
  }

  /** The client has read something: go on reading. */
  drained() {
    for (const stream of this.#waiting.splice(0)) stream.resume();
  }

  /** The connection is gone, and what it asked for with it. */
  end() {
    for (const child of this.#running.values()) killTree(child.pid);
    this.#running.clear();
    this.drained();
  }
}
