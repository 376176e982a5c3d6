// What the rules say about one call of a tool: Allow, Ask or Deny, by which rule of which level, because of which part. The same as
// core/governance/permissions/ of the controller; one table of cases runs against both.
import { createHash } from "node:crypto";
import path from "node:path";
import { full } from "./guardacts.mjs";
import { ANY, ONE, SEGMENT, SEP, VISIBLE, absolute, candidates, certain, ofCommand, ofPath, possible, readings, stars } from "./guardpatterns.mjs";
import { readCommand } from "./guardshell.mjs";
import { TABLES } from "./guardtables.mjs";

const VERDICTS = ["Allow", "Ask", "Deny"];
const FILES = new Set(["read", "write", "edit", "ls", "grep", "find"]);
const STANDARD = new Set(["/bin", "/usr/bin", "/usr/local/bin", "/sbin", "/usr/sbin"]);
const GUARD = "these files belong to the guard itself";
const [NO, MAYBE, YES] = [0, 1, 2];

const sorted = (value) => {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
};
const canonical = (value) => JSON.stringify(sorted(value));

/** What names exactly these declared rules. */
export function hashOf({ levels, tools }) {
  return createHash("sha256").update(canonical({ levels, tools })).digest("hex").slice(0, 16);
}

function ruleOf(text) {
  const found = /^([^()]+?)(?:\((.*)\))?$/s.exec(text.trim());
  if (!found) throw new Error(`${text} is not TOOL or TOOL(ARGUMENT)`);
  const argument = found[2]?.trim();
  return { text: text.trim(), tool: found[1].trim(), argument: argument === undefined || argument === "" || argument === "*" ? undefined : argument };
}

/** Rules as the controller sends them, read. Throws when they are not rules. */
export function readRules(said) {
  const levels = said.levels.map(({ name, allow = [], ask = [], deny = [], default: fallback, askMayBeAllowed = false }) => ({
    name,
    allow: allow.map(ruleOf),
    ask: ask.map(ruleOf),
    deny: deny.map(ruleOf),
    fallback: fallback === undefined ? undefined : strictness(fallback),
    askMayBeAllowed,
  }));
  const declared = levels.map((level) => level.fallback).filter((one) => one !== undefined);
  const { workDir, home, guarded = [], tools } = said;
  if (typeof workDir !== "string" || typeof home !== "string") throw new Error("rules need workDir and home");
  return { levels, workDir, home, guarded, tools, fallback: declared.length ? Math.max(...declared) : 2, hash: hashOf(said) };
}

function strictness(word) {
  const found = VERDICTS.indexOf(word);
  if (found < 0) throw new Error(`${word} is no verdict`);
  return found;
}

/** {verdict, rule, level, part}: the strictest answer over everything that the call does. */
export function decide(rules, tool, args, real = (place) => place) {
  if (rules.tools && !rules.tools.includes(tool)) return { verdict: "Deny", rule: `${tool} is not among its tools`, level: "", part: tool };
  let worst;
  for (const subject of subjects(rules, tool, args, real)) {
    const answer = judge(rules, subject);
    if (!worst || answer.verdict > worst.verdict) worst = answer;
  }
  return { ...worst, verdict: VERDICTS[worst.verdict] };
}

function judge(rules, subject) {
  const { part } = subject;
  if (subject.forbidden) return { verdict: 2, rule: subject.forbidden, level: "", part };
  const wary = Math.max(rules.fallback, 1);
  const allowed = rules.levels.flatMap((level, number) => level.allow.filter((rule) => subject.allows(rule)).map((rule) => ({ number, rule, level })));
  let strict;
  const note = (verdict, rule, level) => {
    if (!strict || verdict > strict.verdict) strict = { verdict, rule: rule.text, level: level.name, part };
  };
  rules.levels.forEach((level, number) => {
    const lifted = level.askMayBeAllowed && allowed.some((one) => one.number > number);
    for (const [list, sure] of [[level.deny, 2], [lifted ? [] : level.ask, 1]]) {
      for (const rule of list) {
        const hold = subject.holds(rule);
        if (hold !== NO) note(hold === YES ? sure : wary, rule, level);
      }
    }
  });
  if (strict) return strict;
  if (subject.opaque) return { verdict: wary, rule: subject.opaque, level: "", part };
  if (allowed.length) return { verdict: 0, rule: allowed[0].rule.text, level: allowed[0].level.name, part };
  if (subject.bound) return { verdict: rules.fallback, rule: "no rule names it, and this is the default", level: "", part };
  return { verdict: 0, rule: "nothing forbids it", level: "", part };
}

// --- what a call does ---------------------------------------------------------------------------------------------------------

const holding = (sure, maybe) => (sure ? YES : maybe ? MAYBE : NO);
const named = (rule, tool) => certain(stars(rule.tool), tool);
const subject = (part, holds, allows, { bound = true, opaque = "", forbidden = "" } = {}) => ({ part, holds, allows, bound, opaque, forbidden });
const every = (rules, kinds) => rules.levels.flatMap((level) => kinds.flatMap((kind) => level[kind]));

function* subjects(rules, tool, args, real) {
  if (tool === "bash") yield* ofBash(rules, args.command, real);
  else if (FILES.has(tool)) yield* ofTool(rules, tool, args, real);
  else {
    const told = canonical(args);
    const texts = [told, ...Object.values(args).filter((value) => typeof value === "string")];
    const names = (rule) => named(rule, tool) && (rule.argument === undefined || texts.some((text) => certain(stars(rule.argument), text)));
    yield subject(`${tool}(${told.slice(0, 200)})`, (rule) => holding(names(rule), false), names);
  }
}

function* ofBash(rules, command, real) {
  const acts = typeof command === "string" ? readCommand(command, rules.workDir, rules.home) : [];
  if (!acts.length) {
    const bare = (rule) => holding(named(rule, "bash") && rule.argument === undefined, false);
    yield subject(String(command).slice(0, 200), bare, () => false, { bound: false });
  }
  for (const act of acts) {
    if (act.kind === "read" || act.kind === "write") {
      for (const one of readings(act.text)) {
        const place = absolute(one, act.cwd || rules.workDir, rules.home);
        yield* act.kind === "write" ? ofFile(rules, "write", place, act.part, real) : mention(rules, place, false, act.part, real);
      }
    } else yield* ofRun(rules, act, real);
  }
}

function* ofRun(rules, act, real) {
  const words = act.text.split(SEP);
  const [name] = words;
  const base = path.posix.basename(name);
  const short = [name.endsWith("/") ? "" : base, ...words.slice(1)].join(SEP);
  const variants = base === name ? [act.text] : [act.text, short];
  const installed = STANDARD.has(path.posix.dirname(name)) && name.includes("/") ? short : act.text;
  const inline = act.inline ? words.slice(0, act.inline).join(SEP) : "";
  const foreign = act.names.some((variable) => !full(TABLES.HARMLESS, variable));
  const known = act.kind === "run" || Boolean(act.text);
  const holds = (rule) => {
    if (!named(rule, "bash")) return NO;
    if (rule.argument === undefined) return YES;
    if (!known) return NO;
    return holding(variants.some((one) => byWords(certain, rule.argument, one)), variants.some((one) => byWords(possible, rule.argument, one)));
  };
  const allows = (rule) => {
    if (!named(rule, "bash") || act.kind === "opaque") return false;
    if (rule.argument === undefined) return !inline;
    if (foreign || !byWords(certain, rule.argument, installed)) return false;
    return !inline || rule.argument.split("*")[0].trim().replaceAll(" ", SEP).startsWith(inline);
  };
  let opaque = act.kind === "opaque" ? act.why : "";
  if (inline && !every(rules, ["allow"]).some(allows)) opaque = `${name} runs code that is not followed`;
  yield subject(act.part, holds, allows, { bound: !act.strict, opaque });
  if (reached(rules, act).some((place) => perhaps(place, rules))) {
    yield subject(act.part, () => NO, () => false, { bound: false, opaque: `perhaps ${GUARD}` });
  }
  for (const one of new Set(act.files.flatMap(candidates).flatMap(readings))) {
    yield* mention(rules, absolute(one, act.cwd || rules.workDir, rules.home), act.mutates, act.part, real);
  }
}

/** What it may change without naming it, as far as it is known where that begins. */
function reached(rules, act) {
  const cwd = act.cwd || rules.workDir;
  const known = act.reach.filter((one) => !one.startsWith(ANY) && (one.startsWith("/") || !cwd.startsWith(ANY)));
  return known.map((one) => `/${absolute(one, cwd, rules.home).replace(/^\//, "")}`);
}

function byWords(question, argument, text) {
  const pattern = ofCommand(argument);
  return question(pattern, text) || (pattern.endsWith(SEP + ANY) && question(pattern.slice(0, -2), text));
}

function* ofTool(rules, tool, args, real) {
  const told = args.path ?? args.file_path;
  const place = absolute(typeof told === "string" && told ? told : ".", rules.workDir, rules.home);
  yield* ofFile(rules, tool, place, `${tool}(${told || ""})`, real);
  const value = args[{ grep: "glob", find: "pattern" }[tool]];
  if (typeof value !== "string") return;
  const below = value.replace(/^\*\*\//, "").replaceAll("**", ANY).replaceAll("*", SEGMENT).replaceAll("?", ONE);
  for (const one of [`${place}/${below}`, `${place}/${ANY}/${below}`]) yield* mention(rules, one, false, `${tool}(${value})`, real);
}

function* ofFile(rules, tool, place, part, real) {
  const places = both(place, rules, real);
  const writes = tool === "write" || tool === "edit";
  const family = writes ? ["write", "edit"] : [tool, "read"];
  const holds = (rule) => {
    if (rule.argument === undefined) return holding(named(rule, tool), false);
    return family.some((one) => named(rule, one)) ? byPath(rule, places, rules) : NO;
  };
  const allows = (rule) => named(rule, tool) && (rule.argument === undefined || places.every((one) => pathHolds(certain, rule, one, rules, false)));
  const unsure = writes && places.some((one) => guarded(possible, dotted(one), rules));
  const sure = writes && places.some((one) => guarded(certain, one, rules));
  yield subject(part, holds, allows, { opaque: unsure ? `perhaps ${GUARD}` : "", forbidden: sure ? GUARD : "" });
}

function* mention(rules, place, mutates, part, real) {
  const places = both(place, rules, real);
  const tools = mutates ? ["read", "write", "edit"] : ["read"];
  if (mutates && places.some((one) => guarded(certain, one, rules) || above(certain, one, rules))) {
    yield subject(part, () => NO, () => false, { forbidden: GUARD });
  } else if (mutates && places.some((one) => perhaps(one, rules))) {
    yield subject(part, () => NO, () => false, { bound: false, opaque: `perhaps ${GUARD}` });
  }
  const holds = (rule) => (rule.argument === undefined || !tools.some((tool) => named(rule, tool)) ? NO : byPath(rule, places, rules));
  if (every(rules, ["deny", "ask"]).some((rule) => holds(rule) !== NO)) yield subject(part, holds, () => false, { bound: false });
}

const both = (place, rules, real) => [...new Set([place, absolute(real(place), "/", rules.home)])];

function guarded(question, place, rules) {
  return rules.guarded.some((one) => question(`${one.replace(/\/+$/, "")}/${ANY}`, place) || question(one, place));
}

/** The place is a directory that a guarded one lies in: who moves or links it moves or links that too. */
function above(question, place, rules) {
  return rules.guarded.some((one) => {
    const parts = one.replace(/\/+$/, "").split("/");
    return parts.slice(1).some((_, at) => question(parts.slice(0, at + 1).join("/") || "/", place));
  });
}

/** A place that is known in part, as a glob is, may be the guard's. One of which not even the start is known may be where its end is the
 * guard's, as in `$X/.pi` or `$X/*`; where nothing of it is known that is not asked about. */
function perhaps(known, rules) {
  const place = dotted(known);
  if (!place.startsWith(ANY)) return guarded(possible, place, rules) || above(possible, place, rules);
  return place.startsWith(`${ANY}/`) && (rules.guarded.some((one) => possible(one, place)) || above(possible, place, rules));
}

/** With a `*` that may be a name that begins with a dot: whether it is one is up to an option of the shell (`dotglob`). */
const dotted = (place) => place.replaceAll(VISIBLE, ONE);

function byPath(rule, places, rules) {
  return holding(
    places.some((one) => pathHolds(certain, rule, one, rules, true)),
    places.some((one) => pathHolds(possible, rule, one, rules, true)),
  );
}

function pathHolds(question, rule, place, rules, anywhere) {
  return ofPath(rule.argument ?? "**", rules.workDir, rules.home, anywhere).some((pattern) => question(pattern, place));
}
