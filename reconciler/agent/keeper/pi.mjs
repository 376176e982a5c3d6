// One pi process: started and stopped when asked, never by itself. Its pipes are ours and are always drained, unless the
// disk can't take what follows (then pi waits, which it does well: pi-rpc §4 "stdout not read").
import { spawn } from "node:child_process";
import path from "node:path";
import { Denials } from "./denials.mjs";
import { Refusal, TailFile, count, prepare, sizeOf } from "./disk.mjs";
import { Extension, INSIDE_MS } from "./extension.mjs";
import { DIALOG, Guard, INSIDE } from "./guard.mjs";
import { Lines, byPath, killGroup, killTree, signalQuietly, startTicks } from "./processes.mjs";
import { Sandbox } from "./sandbox.mjs";
import { brief, parsed, recordOf, upOf, within } from "./told.mjs";
import { RunningTools } from "./tools.mjs";

const START_MS = 20_000;
const PROBE_MS = 3_000;
const QUIET_MS = 10_000;
const LIVE_LIMIT = 1 << 16;
const WORK = new Set(["message_update", "message_end", "tool_execution_start", "tool_execution_update", "tool_execution_end"]);
const DIALOGS = new Set(["select", "confirm", "input", "editor"]);

export class Pi {
  #state;
  #events;
  #stderr;
  #limits;
  #child;
  #gone = Promise.resolve();
  #started;
  #startedMono = 0;
  #probe;
  #last = {};
  #waiting = new Map();
  #number = 0;
  #turn = Promise.resolve();
  #stopping = false;
  #inside; // our extension in the pi that runs
  #tools = new RunningTools();
  #guard; // undefined where no permissions are declared
  #sandbox; // undefined where no boundary is declared
  #pid; // pi's own: with a boundary around it, pi is no child of ours
  #denials;
  #memory;
  #directory;

  /** `limits`: {sessionBytes, sockets}: the size of a session file from which on pi is not read any more; where sockets are made. */
  constructor(directory, state, events, limits, memory) {
    this.#directory = directory;
    this.#memory = memory;
    this.#state = state;
    this.#events = events;
    this.#limits = limits;
    this.#stderr = new TailFile(path.join(directory, "pi.stderr"));
    this.live = "";
    this.unsettled = false; // a prompt was accepted, or a run begun, and `agent_settled` has not come
    this.heardAt = 0;
    this.activity = 0; // signs of work of this process, counted
    this.full = false;
    events.onGate = () => this.#gate();
  }

  get up() {
    return this.#child !== undefined;
  }

  get blocked() {
    return this.full || this.#events.blocked;
  }

  /** Of the pi that runs; undefined when none does. */
  get sessionFile() {
    return this.#child && this.#started.sessionFile;
  }

  get workDir() {
    return this.#state.value.workDir;
  }

  /** After a start of the keeper: a pi that the last one left. It got EOF and goes by itself; if not, it is ended, because
   * two processes on one session file would tear the conversation apart. */
  async endLeftover() {
    const left = this.#state.value.process;
    if (left.state !== "up") return;
    const runs = () => left.startTicks !== undefined && startTicks(left.pid) === left.startTicks;
    for (let i = 0; i < 60 && runs(); i++) await new Promise((resolve) => setTimeout(resolve, 50));
    if (runs()) killTree(left.pid);
    this.#ended(left, undefined, undefined, "the keeper was ended without being asked to, and pi with it");
  }

  #ended(process, code, signal, why) {
    const tail = [why, this.#stderr.tail()].filter(Boolean).join("\n");
    const fact = { state: "exited", at: Date.now() / 1000, exitCode: code, signal, stderrTail: tail, launchHash: process.launchHash };
    this.#state.note({ process: fact });
    this.#events.record("exited", { exitCode: code, signal, stderrTail: brief(tail.slice(-500)) });
  }

  /** One after the other: starts and stops never overlap. */
  #exclusive(work) {
    const next = this.#turn.then(work);
    this.#turn = next.catch(() => count("startOrStopFailed")); // told to whoever asked
    return next;
  }

  /** launch: as `start` of the protocol has it (docs/keeper-protocol.md). Resolves with pi's first answer. */
  start(launch) {
    return this.#exclusive(async () => {
      if (this.#child) {
        if (this.#started.launchHash !== launch.launchHash) throw new Refusal("AlreadyRunning", "pi runs with another launch; stop it first");
        return { already: true };
      }
      prepare(launch);
      this.#stderr.clear();
      this.full = sizeOf(launch.sessionFile) >= this.#limits.sessionBytes;
      const denials = (this.#denials = new Denials(this.#events));
      const refused = (what, told, by) => denials.add(what, told, by);
      const own = { directory: this.#directory, state: this.#state, events: this.#events, end: (why) => void this.#end(why), refused };
      this.#guard = launch.guard && (await Guard.over(launch, { ...own, answer: (id, value) => this.#reply(id, { value }) }));
      this.#sandbox = launch.sandbox && (await this.boundary(launch.sandbox, launch.env, refused));
      this.#spawn(launch);
      const gone = this.#gone;
      const answered = await Promise.race([this.probe(START_MS), gone]);
      if (!this.#child || answered === "gone") {
        const { exitCode, signal, stderrTail } = this.#state.value.process;
        throw new Refusal("Exited", "pi ended before its first answer", { exitCode, signal, stderrTail });
      }
      if (!answered) throw new Refusal("NotAnswering", `pi did not answer within ${START_MS / 1000} s; it is left running`);
      if (this.#sandbox) {
        const found = this.#sandbox.held(this.#child.pid);
        if (found.wrong) await this.#end(found.wrong);
        if (found.wrong) throw new Refusal("SandboxNotHeld", found.wrong);
        this.#started.pid = this.#pid = found.pid;
      }
      if (this.#inside.asked) await within(this.#inside.asked, INSIDE_MS);
      if (this.#guard && !this.#guard.there) {
        await this.#end("our extension in pi does not guard its tools");
        throw new Refusal("GuardMissing", "our extension in pi does not guard its tools; pi was ended");
      }
      return { pid: this.#pid };
    });
  }

  /** A boundary that a declaration describes, for pi or for a command. */
  boundary(declared, env, refused = () => {}) {
    return Sandbox.over(declared, { directory: this.#directory, sockets: this.#limits.sockets }, env, refused);
  }

  /** Files that pi sees as they were when it started, unless they are written to in place. */
  get pinned() {
    return this.#child && this.#sandbox?.pinned;
  }

  /** Ends pi at once, with everything below it. */
  #end(why) {
    if (!this.#child) return;
    this.#stderr.add(Buffer.from(`ended by the keeper: ${why}\n`));
    killTree(this.#child.pid);
    return this.#gone;
  }

  /** The guard of the pi that runs. */
  get guard() {
    if (!this.#child || !this.#guard) throw new Refusal("NotGuarded", "no pi runs that has permissions");
    return this.#guard;
  }

  #spawn({ argv, env, workDir, sessionFile, launchHash, memory }) {
    const remembers = this.#memory.begin({ memory });
    const pi = [...byPath(argv, env.PATH, workDir), "--extension", INSIDE, ...remembers.argv, "--mode", "rpc", "--session", sessionFile];
    const program = this.#sandbox?.command(pi) ?? pi;
    const child = spawn(program[0], program.slice(1), {
      cwd: workDir,
      env: { ...process.env, ...env, ...this.#sandbox?.env(), ...(this.#guard && { RECONCILER_GUARD: DIALOG }), ...remembers.env },
      detached: true,
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.#child = child;
    this.#pid = child.pid;
    this.#stopping = false;
    this.#last = {};
    this.#inside = new Extension((command) => this.#ask(command), this.#guard);
    this.#tools = new RunningTools();
    Object.assign(this, { live: "", activity: 0, unsettled: false, heardAt: performance.now() });
    this.#startedMono = performance.now();
    this.#started = { state: "up", pid: child.pid, startTicks: startTicks(child.pid), at: Date.now() / 1000, launchHash, sessionFile };
    this.#state.note({ process: this.#started, workDir });
    this.#events.record("started", { pid: child.pid, launchHash });
    const lines = new Lines((line) => this.#line(line));
    child.stdout.on("data", (bytes) => lines.add(bytes));
    child.stderr.on("data", (bytes) => this.#stderr.add(bytes));
    for (const stream of [child.stdin, child.stdout, child.stderr]) stream.on("error", () => count("pipeBroke")); // its end is told by `exit`
    this.#gate();
    this.#gone = new Promise((resolve) => {
      child.once("error", (error) => {
        this.#stderr.add(Buffer.from(`${error.message}\n`));
        if (child.pid === undefined) this.#exited(child, 127, undefined, resolve);
      });
      child.once("exit", (code, signal) => {
        child.stdout.resume();
        const drained = Promise.all([child.stdout, child.stderr].map((stream) => new Promise((done) => (stream.readableEnded ? done() : stream.once("close", done)))));
        within(drained, 500).then(() => this.#exited(child, code ?? undefined, signal ?? undefined, resolve));
      });
    });
  }

  #exited(child, code, signal, resolve) {
    const asked = this.#stopping;
    this.#child = undefined;
    this.#guard?.gone();
    this.#sandbox?.close();
    this.#sandbox = undefined;
    Object.assign(this, { live: "", unsettled: false });
    if (child.pid !== undefined) killGroup(child.pid);
    if (asked) {
      this.#state.note({ process: { state: "none" } });
      this.#events.record("stopped", { exitCode: code, signal });
    } else {
      this.#ended(this.#started, code, signal, "");
    }
    for (const answer of this.#waiting.values()) answer(undefined);
    this.#waiting.clear();
    resolve("gone");
  }

  /** clear_queue and abort, then EOF, SIGTERM, and SIGKILL for all that is left. */
  stop(graceMs) {
    return this.#exclusive(async () => {
      const child = this.#child;
      if (!child) return { already: true };
      this.#stopping = true;
      const gone = this.#gone;
      const left = () => Math.max(0, until - performance.now());
      const until = performance.now() + graceMs;
      this.#guard?.release();
      for (const type of ["clear_queue", "abort"]) await within(this.#ask({ type }), Math.min(left(), graceMs / 3));
      child.stdin.end();
      if ((await within(gone, Math.max(left() / 2, 250))) === "gone") return { how: "eof" };
      signalQuietly(this.#pid, "SIGTERM"); // its output may still be read when it has ended
      if ((await within(gone, Math.max(left(), 250))) === "gone") return { how: "sigterm" };
      killTree(child.pid);
      await gone;
      return { how: "sigkill" };
    });
  }

  /** Writes one command; `onAnswer` gets pi's response, or undefined when pi ended first. `command` is a JSON object. */
  forward(id, command, onAnswer) {
    this.#waiting.set(id, onAnswer);
    this.#child.stdin.write(`${JSON.stringify({ ...command, id })}\n`);
  }

  #reply(id, answer) {
    this.#child?.stdin.write(`${JSON.stringify({ type: "extension_ui_response", id, ...answer })}\n`);
  }

  #ask(command) {
    if (!this.#child) return Promise.resolve(undefined);
    return new Promise((resolve) => this.forward(`c:${++this.#number}`, command, resolve));
  }

  /** A transient command: pi's response without our id. */
  async call(command, deadlineMs) {
    if (!this.#child) throw new Refusal("NotRunning", "pi does not run");
    if (command.type === "abort") this.#guard?.release();
    const answer = await within(this.#ask(command), deadlineMs, "late");
    if (answer === "late") throw new Refusal("Deadline", `pi did not answer ${command.type} within ${deadlineMs} ms`);
    if (!answer) throw new Refusal("NotRunning", "pi ended before it answered");
    const { id: _, ...response } = answer;
    return response;
  }

  /** What our extension in pi says that pi was told, asked anew. */
  async inside() {
    if (!this.#inside) throw new Refusal("NotInside", "our extension is not loaded in pi");
    return this.#inside.inside();
  }

  /** What our extensions in pi say. */
  #status(said) {
    return typeof said?.memory === "string" ? this.#memory.heard(said) : this.#inside.status(said);
  }

  /** One get_state at a time; false when it is not answered in time, or pi has ended. */
  probe(deadlineMs = PROBE_MS) {
    if (!this.#child) return Promise.resolve(false);
    this.#probe ??= this.#ask({ type: "get_state" }).then((answer) => {
      this.#probe = undefined;
      if (!answer?.success) return false;
      this.#last = answer.data ?? {};
      const idle = !this.#last.isStreaming && !this.#last.isCompacting && !this.#last.pendingMessageCount;
      // An end of work that was never announced: pi itself has said for long that it is idle, and nothing else.
      if (this.unsettled && idle && performance.now() - this.heardAt > QUIET_MS) this.unsettled = false;
      return true;
    });
    return within(this.#probe, deadlineMs, false);
  }

  /** What `observe` and `hello` tell. `waiting`: prompts without an answer; `responsive`: whether a probe was just answered. */
  describe(responsive, waiting) {
    const fact = this.#state.value.process;
    if (!this.#child || fact.state !== "up") return fact;
    return {
      ...upOf(fact, this.#last),
      ageMs: Math.round(performance.now() - this.#startedMono),
      responsive,
      busy: Boolean(!responsive || waiting || this.unsettled || this.#last.isStreaming || this.#last.isCompacting || this.#last.pendingMessageCount),
      activity: this.activity,
      work: this.#tools.work(this.#pid),
      tool: this.#tools.oldest(),
      retryAfterMs: this.#inside.retryAfterMs,
      inside: this.#inside.told,
      guard: this.#guard?.describe(),
      sandbox: this.#sandbox?.describe(),
      refused: this.#denials.describe(),
      memory: this.#memory.told(),
    };
  }

  // --- listening ----------------------------------------------------------------------------------------------------------

  #line(line) {
    const said = parsed(line);
    if (!said) return this.#events.record("noise", { text: brief(line) });
    if (said.type === "response") {
      const onAnswer = this.#waiting.get(said.id);
      this.#waiting.delete(said.id);
      if (onAnswer) onAnswer(said);
      else this.#events.record("stray", { command: brief(said.command), error: brief(said.error) });
      return;
    }
    this.heardAt = performance.now();
    this.#heard(said);
  }

  #heard(said) {
    const events = this.#events;
    if (WORK.has(said.type)) this.activity += 1;
    switch (said.type) {
      case "agent_start":
        this.unsettled = true;
        return events.record("run");
      case "agent_settled":
        this.unsettled = false;
        this.#tools.settled();
        return events.record("settled", { aborted: said.aborted === true });
      case "message_start":
        this.live = "";
        return;
      case "message_update": {
        const delta = said.assistantMessageEvent;
        if (delta?.type !== "text_delta" || typeof delta.delta !== "string") return;
        this.live = (this.live + delta.delta).slice(-LIVE_LIMIT);
        return events.live({ text: delta.delta });
      }
      case "message_end": {
        this.live = "";
        const { role, stopReason, errorMessage } = said.message ?? {};
        const sessionSize = sizeOf(this.#started.sessionFile);
        this.full = sessionSize >= this.#limits.sessionBytes;
        events.record("message", { role: brief(role), stopReason: brief(stopReason), error: brief(errorMessage), sessionSize });
        return this.#gate();
      }
      case "tool_execution_start":
        this.#tools.began(said.toolCallId, brief(said.toolName, 100));
        return events.record(...recordOf(said));
      case "tool_execution_end":
        this.#tools.ended(said.toolCallId);
        this.#guard?.executed(said.toolCallId, said.toolName, said.isError === true);
        if (this.#sandbox) this.#denials.heard(said.toolName, said.result);
        return events.record(...recordOf(said));
      case "extension_ui_request":
        if (said.method === "setStatus" && said.statusKey === "reconciler") return this.#status(parsed(said.statusText));
        if (said.method === "input" && said.title === DIALOG && this.#guard) return this.#guard.asked(said);
        if (this.#memory.asks(said)) return this.#reply(said.id, { value: this.#memory.asked(said) });
        return this.#dialog(said);
      case "auto_retry_start":
        events.record("retry", { attempt: said.attempt, delayMs: said.delayMs, error: brief(said.errorMessage) });
        return this.#inside.leaveAlone();
      default: {
        const record = recordOf(said); // none for deltas of tools, ends of turns, and whatever later versions add
        if (record) return events.record(...record);
      }
    }
  }

  /** An open dialog would keep the turn, and even `abort`, waiting for ever (pi-rpc §3): nobody is there to answer it. */
  #dialog(said) {
    const open = DIALOGS.has(said.method);
    if (open) this.#reply(said.id, { cancelled: true });
    this.#events.record(open ? "dialog" : "notice", { method: brief(said.method), title: brief(said.title ?? said.message ?? said.statusText), cancelled: open });
  }

  /** Read pi, or leave it waiting in its pipe. */
  #gate() {
    const stdout = this.#child?.stdout;
    if (!stdout || this.blocked === stdout.isPaused()) return;
    if (this.blocked) stdout.pause();
    else stdout.resume();
    if (this.blocked) count("outputBlocked");
  }
}
