// Commands under a durable key. A key is on disk before its command goes to pi, and goes to pi at most once, ever: nothing
// is resent here, whatever happened. What became of a key is on disk too. Commands themselves are not stored.
import path from "node:path";
import { AppendLog, Refusal, count } from "./disk.mjs";

const PROMPTS = new Set(["prompt", "steer", "follow_up"]);

export const isPrompt = (command) => PROMPTS.has(command.type);

/** Refuses what would end pi (pi-rpc §0.10) or could not be answered. */
export function checked(command) {
  if (typeof command !== "object" || command === null || Array.isArray(command) || typeof command.type !== "string") {
    throw new Refusal("BadRequest", "a command is a JSON object with a type");
  }
  if (hasNull(command)) throw new Refusal("BadRequest", "a command has a null in it; leave the field out");
  return command;
}

function hasNull(value) {
  if (value === null) return true;
  return typeof value === "object" && Object.values(value).some(hasNull);
}

export class Commands {
  #log;
  #pi;
  #events;
  #verdicts = new Map();
  #open = new Map();
  #flying = 0;
  #unsaved = [];
  #timer;

  constructor(directory, pi, events) {
    this.#log = new AppendLog(path.join(directory, "commands.jsonl"));
    this.#pi = pi;
    this.#events = events;
    for (const record of this.#log.found) this.#verdicts.set(record.key, record.verdict);
    this.#log.found = [];
  }

  /** Prompts that pi has not answered yet. */
  get unanswered() {
    return this.#flying;
  }

  /** After a start of the keeper: what was handed on and never answered is lost, as far as anybody here can know. */
  settleTheOpen() {
    for (const [key, verdict] of this.#verdicts) {
      if (!verdict) this.#conclude(key, { state: "lost", why: "the keeper ended before pi's answer was recorded" });
    }
  }

  #conclude(key, verdict) {
    this.#verdicts.set(key, verdict);
    this.#unsaved.push({ key, verdict });
    this.#save();
    this.#events.record("verdict", { key, state: verdict.state });
    return verdict;
  }

  /** A full disk must not end the keeper. Should it end before the disk has room, the key reads `lost`: safe, since then the
   * conversation decides. */
  #save() {
    try {
      for (; this.#unsaved.length; this.#unsaved.shift()) this.#log.append(this.#unsaved[0], true);
    } catch {
      count("verdictNotWritten");
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        this.#save();
      }, 1000);
    }
  }

  verdict(key) {
    if (!this.#verdicts.has(key)) return { state: "unheard" };
    return this.#verdicts.get(key) ?? { state: "unanswered" };
  }

  /** The verdict, or `unanswered` after `waitMs`. A key that was seen before is never forwarded again. `first`: what is done right before
   * the command goes to pi, and not at all when it does not. */
  async send(key, command, waitMs, first) {
    if (!this.#verdicts.has(key)) this.#forward(key, checked(command), first);
    const open = this.#open.get(key);
    if (open) {
      let timer;
      await Promise.race([open, new Promise((resolve) => (timer = setTimeout(resolve, waitMs)))]);
      clearTimeout(timer);
    }
    return this.verdict(key);
  }

  #forward(key, command, first) {
    // The record comes first, whatever follows; a refusal is as final as an answer.
    this.#log.append({ key, type: command.type, at: Date.now() }, true);
    this.#verdicts.set(key, undefined);
    if (!this.#pi.up) return void this.#conclude(key, { state: "lost", why: "pi does not run" });
    const prompt = isPrompt(command);
    // pi loses one of two prompts that it reads at once, and says success to both (pi-rpc §0.3).
    if (prompt && this.#flying) return void this.#conclude(key, { state: "declined", error: "Busy: another prompt has no answer yet" });
    // Only a steer goes into a running turn; pi's own queue is never used (it merges prompts and forgets them with the process).
    if (prompt && this.#pi.unsettled && command.streamingBehavior !== "steer")
      return void this.#conclude(key, { state: "declined", error: "Busy: a turn is on" });
    first?.();
    if (prompt) this.#flying += 1;
    const answered = new Promise((resolve) => {
      this.#pi.forward(`k:${key}`, command, (answer) => {
        if (prompt) this.#flying -= 1;
        // Before the run shows itself by events, get_state says idle: only this tells that work is coming.
        if (prompt && answer?.success && answer.data?.disposition !== "handled") this.#pi.unsettled = true;
        this.#open.delete(key);
        this.#conclude(key, verdictOf(answer));
        resolve();
      });
    });
    this.#open.set(key, answered);
  }
}

function verdictOf(answer) {
  if (!answer) return { state: "lost", why: "pi ended before it answered" };
  if (answer.success) return { state: "accepted", disposition: answer.data?.disposition };
  return { state: "declined", error: typeof answer.error === "string" ? answer.error.slice(0, 2000) : "no reason given" };
}
