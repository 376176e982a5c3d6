// What the agent keeps between conversations, as it is on this machine: entries with ids, one JSON line each. The agent reads and adds by
// tools of ours in pi, which ask here by dialogs; the controller reads all of it, and says what all of it is once it has merged.
import { createHash, randomUUID } from "node:crypto";
import path from "node:path";
import { AppendLog, Refusal, count, writeAtomic } from "./disk.mjs";
import { brief } from "./told.mjs";

export const DIALOG = "reconciler-memory";
export const INSIDE = path.join(import.meta.dirname, "insidememory.mjs"); // our extension for pi
export const INSIDE_FACTS = path.join(import.meta.dirname, "insidefacts.mjs"); // and a part of it
const SCOPES = ["Agent", "Global"];
const LONGEST = 4000; // characters of one entry
const MOST = 10_000; // entries of one scope,
const MOST_CHARACTERS = 1 << 20; // and what they may come to
const SHOWN = 50_000; // characters of one answer, or of what is told at the start
const A_MINUTE = 60; // entries that may be added in one
const MOST_FACTS = 50; // that one reading of a conversation may add
const MOST_MARKS = 100; // readings that are remembered
const FACT = /^facts\/([^/]*)\/([^/]*)\/\d+$/; // the id of a fact: session, the entry up to which was read, number

/** Names the entries that are there, whatever their order. */
const digest = (entries) => createHash("sha256").update(entries.map((entry) => entry.id).sort().join("\n")).digest("hex").slice(0, 16);
const characters = (entries) => entries.reduce((sum, entry) => sum + entry.text.length, 0);
const older = (a, b) => a.at - b.at || (a.id < b.id ? -1 : 1);
const lines = (entry) => entry.text.split("\n").length;

/** An entry as it is shown: further lines are indented. */
const shown = (entry) => `- ${entry.text.replaceAll("\n", "\n  ")}`;

export class Memory {
  #file;
  #events;
  #log;
  #owner = "";
  #number = 0; // of the newest entry that was added here
  #entries = { Agent: [], Global: [] };
  #marks = []; // SESSION/ENTRY up to which facts were found, the newest last
  #launch;
  #told = {}; // of the pi that runs: what it was given, and what it says that it got
  #added = [];
  #digests;

  constructor(directory, events) {
    this.#file = path.join(directory, "memory.jsonl");
    this.#events = events;
    this.#open();
  }

  #open() {
    this.#log = new AppendLog(this.#file);
    for (const line of this.#log.found) {
      if (line.owner !== undefined) this.#owner = String(line.owner);
      if (Number.isSafeInteger(line.n)) this.#number = Math.max(this.#number, line.n);
      if (Array.isArray(line.marks)) this.#marks = line.marks.map(String);
      if (typeof line.facts === "string") this.#found(line);
      else if (SCOPES.includes(line.scope) && typeof line.id === "string" && typeof line.text === "string") {
        this.#entries[line.scope].push({ id: line.id, at: Number(line.at) || 0, text: line.text, n: line.n });
      }
    }
    this.#log.found = [];
  }

  /** Which entries are here, in a word for each scope; cheap, for every look. */
  describe() {
    this.#digests ??= { owner: this.#owner, agent: digest(this.#entries.Agent), global: digest(this.#entries.Global) };
    return this.#digests;
  }

  /** All of it. `n`: of the newest entry that was added here. */
  read() {
    const all = SCOPES.flatMap((scope) => this.#entries[scope].map(({ id, at, text }) => ({ scope, id, at, text })));
    return { ...this.describe(), n: this.#number, entries: all };
  }

  /** The controller says what all of it is, knowing of what was added here up to `n`. Durable when it returns. */
  put({ owner, n, entries }) {
    if (typeof owner !== "string" || !Array.isArray(entries) || !Number.isSafeInteger(n)) throw new Refusal("BadRequest", "owner, n and entries are needed");
    const next = { Agent: [], Global: [] };
    for (const { scope, id, at, text } of entries) {
      if (!SCOPES.includes(scope) || typeof id !== "string" || typeof text !== "string") throw new Refusal("BadRequest", "an entry has scope, id, at and text");
      next[scope].push({ id, at: Number(at) || 0, text });
    }
    for (const scope of SCOPES) {
      const known = new Set(next[scope].map((entry) => entry.id));
      const since = this.#entries[scope].filter((entry) => entry.n > n && !known.has(entry.id));
      next[scope] = [...next[scope], ...since].sort(older);
    }
    const rows = SCOPES.flatMap((scope) => next[scope].map((entry) => ({ scope, ...entry })));
    writeAtomic(this.#file, [{ owner, n: this.#number, marks: this.#marks }, ...rows].map((row) => `${JSON.stringify(row)}\n`).join(""));
    this.#log.close();
    this.#log = new AppendLog(this.#file);
    this.#log.found = [];
    this.#owner = owner;
    this.#entries = next;
    this.#digests = undefined;
    return this.describe();
  }

  // --- pi --------------------------------------------------------------------------------------------------------------------

  /** pi is about to be started. `memory`: {scopes, maxLines}, undefined for none. Returns pi's own arguments and variables. */
  begin({ memory }) {
    this.#launch = memory;
    this.#told = {};
    return memory ? { argv: ["--extension", INSIDE], env: { RECONCILER_MEMORY: JSON.stringify({ ...memory, dialog: DIALOG }) } } : { argv: [], env: {} };
  }

  /** Whether this dialog of pi asks here. */
  asks(said) {
    return this.#launch !== undefined && said.method === "input" && said.title === DIALOG;
  }

  /** Of the pi that runs: digest of what it was given last, and of what it says that it has; undefined when it has none. */
  told() {
    return this.#launch && this.#told;
  }

  /** Our extension says what it has taken into pi's system prompt. */
  heard({ memory, missing }) {
    this.#told = { ...this.#told, has: brief(memory, 100), missing: missing && brief(missing, 500) };
  }

  /** The answer to a dialog, as text. */
  asked({ placeholder }) {
    try {
      const said = JSON.parse(placeholder);
      const act = { start: this.#start, write: this.#write, read: this.#show, search: this.#search, facts: this.#facts, "read up to": this.#readUpTo }[said.op];
      return JSON.stringify({ ok: act.call(this, said) });
    } catch (error) {
      if (!(error instanceof Refusal)) count("memoryFailed");
      return JSON.stringify({ error: error instanceof Refusal ? error.message : "the memory of this agent can't be read or written now" });
    }
  }

  #scopes(scope) {
    if (scope === undefined || scope === null) return this.#launch.scopes;
    const found = SCOPES.find((name) => name.toLowerCase() === String(scope).toLowerCase());
    if (!found || !this.#launch.scopes.includes(found)) throw new Refusal("BadRequest", `there is no memory ${brief(String(scope), 40)}; scopes are ${this.#launch.scopes.join(", ")}`);
    return [found];
  }

  #newest(scopes) {
    return scopes.flatMap((scope) => this.#entries[scope].map((entry) => ({ scope, ...entry }))).sort(older).reverse();
  }

  /** The newest entries as text, oldest first, within these limits. */
  #text(entries, mostLines) {
    const taken = [];
    let left = mostLines;
    let room = SHOWN;
    for (const entry of entries) {
      left -= lines(entry);
      room -= entry.text.length + 10;
      if (left < 0 || room < 0) break;
      taken.unshift(entry);
    }
    return SCOPES.filter((scope) => taken.some((entry) => entry.scope === scope)).map((scope) => {
      const title = scope === "Agent" ? "Yours:" : "Shared by all agents here:";
      return [title, ...taken.filter((entry) => entry.scope === scope).map(shown)].join("\n");
    }).join("\n");
  }

  #start() {
    const text = this.#text(this.#newest(this.#launch.scopes), this.#launch.maxLines);
    this.#told = { given: createHash("sha256").update(text, "utf8").digest("hex") };
    return text;
  }

  #show({ scope, lines: wanted }) {
    const most = Math.min(Math.max(1, Math.trunc(Number(wanted) || 200)), MOST);
    return this.#text(this.#newest(this.#scopes(scope)), most) || "Nothing is remembered.";
  }

  #search({ scope, query }) {
    const words = String(query ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) throw new Refusal("BadRequest", "a search needs words");
    const found = this.#newest(this.#scopes(scope)).filter((entry) => words.every((word) => entry.text.toLowerCase().includes(word)));
    return this.#text(found.slice(0, 100), MOST) || "Nothing that is remembered has all of these words.";
  }

  #write({ scope, text }) {
    const [to] = this.#scopes(scope);
    const kept = String(text ?? "").trim();
    if (!kept) throw new Refusal("BadRequest", "there is no text to remember");
    if (kept.length > LONGEST) throw new Refusal("BadRequest", `an entry has at most ${LONGEST} characters, this one has ${kept.length}: write the essence`);
    const now = performance.now();
    this.#added = this.#added.filter((at) => at > now - 60_000);
    if (this.#added.length >= A_MINUTE) throw new Refusal("BadRequest", `at most ${A_MINUTE} entries are added in a minute: write less, and only what matters`);
    const last = this.#entries[to].at(-1);
    if (this.#entries[to].some((entry) => entry.text === kept)) return "This is remembered already.";
    const at = Math.max(Date.now() / 1000, (last?.at ?? 0) + 1e-6);
    const entry = { id: randomUUID(), at, text: kept, n: this.#number + 1 };
    this.#log.append({ scope: to, ...entry }, true);
    this.#number = entry.n;
    this.#added.push(now);
    this.#digests = undefined;
    this.#entries[to].push(entry);
    this.#bound(to);
    this.#events.record("memory", { scope: to, id: entry.id, characters: kept.length });
    return to === "Agent" ? "Remembered." : "Remembered, for all agents here.";
  }

  #bound(scope) {
    while (this.#entries[scope].length > MOST || characters(this.#entries[scope]) > MOST_CHARACTERS) this.#entries[scope].shift();
  }

  // --- facts that a model found before a conversation was shortened -------------------------------------------------------------

  /** The entries of this session up to which that was done, here or wherever the entries that came of it are from. */
  #readUpTo({ session }) {
    const marks = this.#marks.map((mark) => mark.split("/"));
    const ids = SCOPES.flatMap((scope) => this.#entries[scope].map((entry) => FACT.exec(entry.id)?.slice(1)).filter(Boolean));
    return [...new Set([...marks, ...ids].filter(([of]) => of === session).map(([, upto]) => upto))];
  }

  /** All of one reading, in one line of the log: all or nothing is there whatever ends in between. Done again it changes nothing. */
  #facts({ session, upto, texts }) {
    if (!/^[^/]{1,16}$/.test(session) || !/^[^/]{1,36}$/.test(upto) || !Array.isArray(texts)) throw new Refusal("BadRequest", "session, upto and texts are needed");
    if (!this.#launch.facts) throw new Refusal("BadRequest", "no facts are to be kept");
    if (this.#readUpTo({ session }).includes(upto)) return 0;
    const [scope] = this.#launch.scopes;
    const known = new Set(this.#entries[scope].map((entry) => entry.text));
    const wanted = [...new Set(texts.map((text) => String(text).trim().slice(0, LONGEST)))].filter((text) => text && !known.has(text)).slice(0, MOST_FACTS);
    const start = Math.max(Date.now() / 1000, (this.#entries[scope].at(-1)?.at ?? 0) + 1e-6);
    const entries = wanted.map((text, index) => ({ id: `facts/${session}/${upto}/${index}`, at: start + index * 1e-6, text, n: this.#number + 1 + index }));
    const line = { facts: `${session}/${upto}`, scope, entries };
    this.#log.append(line, true);
    this.#found(line);
    this.#digests = undefined;
    this.#bound(scope);
    if (entries.length) this.#events.record("memory", { scope, id: entries[0].id, characters: characters(entries) });
    return entries.length;
  }

  #found({ facts, scope, entries }) {
    this.#marks = [...this.#marks, facts].slice(-MOST_MARKS);
    for (const entry of SCOPES.includes(scope) && Array.isArray(entries) ? entries : []) {
      this.#entries[scope].push(entry);
      this.#number = Math.max(this.#number, entry.n);
    }
  }
}
