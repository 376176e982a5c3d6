// Stands between the model and its tools: pi asks it before each call, by a dialog that only the keeper can answer, since it alone
// holds pi's pipes. Whatever else happens (no answer, no keeper, a call that was not asked about) no call runs.
import { createHash } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Refusal, count } from "./disk.mjs";
import { INSIDE as INSIDE_MEMORY, INSIDE_FACTS } from "./memory.mjs";
import { load } from "./guardgrammar.mjs";
import { SEGMENT, special } from "./guardpatterns.mjs";
import { decide, readRules } from "./guardrules.mjs";

export const DIALOG = "reconciler-guard";
export const INSIDE = path.join(import.meta.dirname, "inside.mjs"); // our extension for pi
const OWN = ["bin", "opt", "keeper", "keeper-*", "events-*", "sock", "lock", "*.json", "*.json.new", "*.jsonl", "keeper.log*", "pi.stderr*", "steps", "proxy-*"];
const MOST_OPEN = 100;
const REMEMBERED = 500;
const KEPT = 200;
const SHOWN = 2000;
const brief = (text, limit = 500) => String(text ?? "").slice(0, limit);
const digestOf = (files) => files.reduce((hash, file) => hash.update(fs.readFileSync(file)), createHash("sha256")).digest("hex");
const OURS = [INSIDE, path.join(import.meta.dirname, "forward.mjs"), INSIDE_MEMORY, INSIDE_FACTS]; // all of our code that runs in pi
const ORIGINAL = digestOf(OURS); // as it was when the keeper started

export class Guard {
  #rules;
  #launch;
  #state;
  #events;
  #answer;
  #end;
  #refused;
  #allowed = new Set(); // ids of calls that may end well
  #open = new Map(); // id of a question -> what waits
  #there;

  /** `launch`: with `guard`, the declared rules; `answer(dialog, value)` answers pi, `end(why)` ends it, `refused(what, told)` is told
   * of denials by rules. */
  static async over(launch, { state, events, answer, end, refused, directory }) {
    await load();
    const { guard, workDir, agentDir, env } = launch;
    const made = new Guard();
    const own = { workDir, home: env.HOME ?? os.homedir(), guarded: [agentDir, ...ownOf(directory, workDir)] };
    made.#launch = own;
    made.#state = state;
    made.#events = events;
    made.#answer = answer;
    made.#end = end;
    made.#refused = refused;
    made.#intact();
    made.base = made.rules(guard);
    return made;
  }

  /** From now on these rules hold. Their hash; throws when they are not rules, and then the ones before hold. */
  rules(declared) {
    return this.prepared(declared)();
  }

  /** What makes these rules hold once it is called. Throws when they are not rules. */
  prepared(declared) {
    let read;
    try {
      read = { ...readRules({ ...declared, ...this.#launch }), askMs: declared.askMs ?? 600_000 };
    } catch (error) {
      throw new Refusal("BadRequest", `rules that can't be read: ${brief(error.message)}`);
    }
    return () => {
      this.#rules = read;
      return read.hash;
    };
  }

  /** Our extension has been loaded in pi and asks before each call. */
  get there() {
    return this.#there === "asks";
  }

  /** What our extension says when pi loads it, at its start and whenever it loads its extensions anew. */
  reported(said) {
    this.#there = said;
    try {
      this.#intact();
    } catch (error) {
      this.#end(error.message);
    }
  }

  #intact() {
    let found = "gone";
    try {
      found = digestOf(OURS);
    } catch {
      // it is gone, which is told below
    }
    if (found !== ORIGINAL) {
      this.#events.record("guard", { what: "changed" });
      throw new Refusal("GuardChanged", "our extension for pi was changed on the disk since the keeper started");
    }
  }

  describe() {
    const open = [...this.#open.values()].map(({ id, tool, call, part, rule, level, since }) => {
      return { id, tool, call, part, rule, level, ageMs: Math.round(performance.now() - since) };
    });
    return { base: this.base, hash: this.#rules.hash, asks: open };
  }

  /** A dialog of our extension: {call, tool, args, digest}. Answered at once, or once a person has. */
  asked({ id: dialog, placeholder }) {
    let said;
    let found;
    try {
      said = JSON.parse(placeholder);
      found = decide(this.#rules, said.tool, said.args, real);
    } catch (error) {
      count("guardFailed");
      return this.#deny(dialog, said, { rule: "the guard could not read the call", level: "", part: brief(error.message) });
    }
    if (found.verdict === "Allow") return this.#allow(dialog, said);
    if (found.verdict === "Deny") return this.#deny(dialog, said, found);
    this.#wait(dialog, said, found);
  }

  #allow(dialog, { call }) {
    this.#allowed.add(call);
    if (this.#allowed.size > REMEMBERED) this.#allowed.delete(this.#allowed.values().next().value);
    this.#answer(dialog, JSON.stringify({ allow: true }));
  }

  /** `why`: of a question that a person, or nobody, answered; `told`: whether it counts as a refusal. */
  #deny(dialog, said, found, why, told = true) {
    const by = found.level ? `rule ${found.rule} of the ${found.level}` : found.rule;
    const reason = why ?? `Denied by the permissions of this agent: ${by}, because of ${brief(found.part)}. Do not try to get round it.`;
    this.#events.record("denied", { tool: brief(said?.tool, 100), part: brief(found.part), rule: brief(found.rule), level: found.level, why: why && brief(why) });
    const words = `${brief(said?.tool, 100)}: ${brief(found.part, 150)} (${why ? brief(why, 100) : by})`;
    if (told) this.#refused("call", words, { rule: brief(found.rule), level: found.level });
    this.#answer(dialog, JSON.stringify({ allow: false, reason }));
  }

  // --- questions -------------------------------------------------------------------------------------------------------------

  /** The question has the same name as long as this very call was not carried out, whoever is killed meanwhile. */
  #wait(dialog, said, found) {
    if (this.#open.size >= MOST_OPEN) return this.#deny(dialog, said, found, "Denied: too many calls wait for a person already.");
    const times = this.#state.value.asked?.[said.digest] ?? 0;
    const id = `${said.digest.slice(0, 8)}${times ? `-${times}` : ""}`;
    let name = id;
    for (let n = 2; this.#open.has(name); n++) name = `${id}x${n}`;
    const waiting = { ...found, id: name, dialog, said, tool: said.tool, call: shown(said), since: performance.now() };
    waiting.timer = setTimeout(() => this.#close(name, false, `Denied: nobody answered within ${Math.round(this.#rules.askMs / 1000)} s.`), this.#rules.askMs);
    this.#open.set(name, waiting);
    this.#events.record("asked", { id: name, tool: brief(said.tool, 100), part: brief(found.part), rule: brief(found.rule), level: found.level });
  }

  /** A person's answer; {answered: false} when nothing waits under that name (any more). */
  answered(id, allow, reason) {
    const told = reason ? `Denied by a person: ${brief(reason)}` : "Denied by a person.";
    return { answered: this.#close(id, allow, told) };
  }

  #close(id, allow, why, told = true) {
    const waiting = this.#open.get(id);
    if (!waiting) return false;
    this.#open.delete(id);
    clearTimeout(waiting.timer);
    this.#events.record("answered", { id, allow, why: allow ? undefined : brief(why) });
    if (!allow) {
      this.#deny(waiting.dialog, waiting.said, waiting, why, told);
      return true;
    }
    const asked = { ...this.#state.value.asked };
    const { digest } = waiting.said;
    const times = (asked[digest] ?? 0) + 1;
    delete asked[digest];
    this.#state.note({ asked: Object.fromEntries([...Object.entries(asked).slice(-KEPT), [digest, times]]) });
    this.#allow(waiting.dialog, waiting.said);
    return true;
  }

  /** Everything that waits is denied: pi is about to be stopped, or its turn aborted. */
  release() {
    for (const id of [...this.#open.keys()]) this.#close(id, false, "Denied: the turn ends.", false);
  }

  /** pi has ended: nothing can be answered any more. */
  gone() {
    for (const { timer } of this.#open.values()) clearTimeout(timer);
    this.#open.clear();
  }

  // --- belt and braces ---------------------------------------------------------------------------------------------------------

  /** A call has ended. One that ended well and that nobody was asked about means that the guard was got round: pi ends. */
  executed(call, tool, failed) {
    if (this.#allowed.delete(call) || failed) return;
    this.#events.record("guard", { what: "round", tool: brief(tool, 100) });
    this.#end(`a call of ${brief(tool, 100)} ran that its guard was not asked about`);
  }
}

/** What of the keeper's directory is its own: all of it, unless the work dir is in there too (an agent on the controller's host). */
function ownOf(directory, workDir) {
  return workDir.startsWith(`${directory}/`) ? OWN.map((name) => path.join(directory, name.replaceAll("*", SEGMENT))) : [directory];
}

/** The call as people read it. */
function shown({ tool, args }) {
  const told = tool === "bash" ? args?.command : (args?.path ?? args?.file_path ?? JSON.stringify(args ?? {}));
  return brief(`${tool}(${told ?? ""})`, SHOWN);
}

/** Where a path leads once symbolic links are followed, as far as it is known and there. */
function real(place) {
  const parts = place.split("/");
  const known = parts.findIndex((part) => special(part));
  const sure = known < 0 ? parts : parts.slice(0, known);
  for (let length = sure.length; length > 0; length--) {
    try {
      const found = fs.realpathSync(sure.slice(0, length).join("/") || "/");
      return [found === "/" ? "" : found, ...parts.slice(length)].join("/") || "/";
    } catch (error) {
      if (error.code !== "ENOENT" && error.code !== "ENOTDIR") return place;
      const link = length === sure.length ? dangling(sure.slice(0, length).join("/")) : undefined;
      if (link) return real(path.resolve(path.dirname(place), link));
    }
  }
  return place;
}

/** Where a link points whose target is not there yet: writing through it makes that. */
function dangling(file) {
  try {
    return fs.readlinkSync(file);
  } catch {
    return undefined;
  }
}
