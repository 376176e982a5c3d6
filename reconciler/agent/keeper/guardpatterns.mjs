// Texts that are known in part, and whether a pattern covers them. The same as core/governance/permissions/patterns.py and paths.py
// of the controller; one table of cases runs against both.
export const ANY = "\ue000"; // anything at all
export const SEGMENT = "\ue001"; // anything within one segment of a path
export const ONE = "\ue002"; // one character of a segment
export const SEP = "\ue003"; // the border between two words
export const VISIBLE = "\ue004"; // one character of a segment that is no dot
const SPECIAL = new Set([ANY, SEGMENT, ONE, SEP, VISIBLE]);
const STARS = new Set([ANY, SEGMENT]);
const BORDERS = new Set(["/", SEP]);

/** The pattern holds whatever the unknown parts of the text turn out to be. */
export const certain = (pattern, text) => walk(pattern, text, true);

/** There is a text that this may become and that the pattern holds for. */
export const possible = (pattern, text) => walk(pattern, text, false);

function walk(pattern, text, certainly) {
  const own = Array.from(pattern);
  let states = closed(own, new Set([0]));
  for (const token of text) {
    states = step(own, states, token, certainly);
    if (!states.size) return false;
    states = closed(own, states);
  }
  return states.has(own.length);
}

function closed(pattern, states) {
  const found = new Set(states);
  for (const state of states) for (let at = state; at < pattern.length && STARS.has(pattern[at]); ) found.add(++at);
  return found;
}

function step(pattern, states, token, certainly) {
  const after = new Set();
  for (const state of states) {
    if (STARS.has(token)) {
      if (certainly) {
        if (state < pattern.length && takes(pattern[state], token)) after.add(state);
        continue;
      }
      after.add(state);
      for (let at = state; at < pattern.length && (STARS.has(pattern[at]) || takes(token, pattern[at])); ) after.add(++at);
    } else if (state < pattern.length) {
      const own = pattern[state];
      if (STARS.has(own) && takes(own, token)) after.add(state);
      else if (own === token || one(own, token, certainly)) after.add(state + 1);
    }
  }
  return after;
}

const takes = (star, token) => star === ANY || (star === SEGMENT && token !== ANY && !BORDERS.has(token));

function one(own, token, certainly) {
  if (own === ONE) return !BORDERS.has(token);
  if (certainly || BORDERS.has(own)) return false;
  return token === ONE || (token === VISIBLE && own !== ".");
}

export const special = (text) => Array.from(text).some((token) => SPECIAL.has(token));
export const plain = (text) => !Array.from(text).some((token) => SPECIAL.has(token) && token !== SEP);
export const stars = (text) => text.replaceAll("*", ANY);

export const ofCommand = (argument) => stars(argument.split(/\s+/).filter(Boolean).join(SEP));

/** The patterns of a rule about a path, in the syntax of gitignore. */
export function ofPath(argument, workDir, home, anywhere) {
  let text = argument.trim().replace(/\/+$/, "") || "/";
  const base = anywhere ? "" : trimmed(workDir);
  let heads;
  if (text === "~" || text.startsWith("~/")) [heads, text] = [[`${trimmed(home)}/`], text.slice(2)];
  else if (text.startsWith("/")) [heads, text] = [["/"], text.slice(1)];
  else if (text.startsWith("**/")) [heads, text] = [[`${base}/`, `${base}/${ANY}/`], text.slice(3)];
  else if (text.includes("/")) [heads, text] = [[`${trimmed(workDir)}/`], text.replace(/^\.\//, "")];
  else heads = [`${base}/`, `${base}/${ANY}/`];
  const found = text ? heads.flatMap((head) => bodies(text).map((body) => head + body)) : [trimmed(heads[0]) || "/"];
  return [...new Set([...found, ...found.filter((each) => !each.endsWith(`/${ANY}`)).map((each) => `${trimmed(each)}/${ANY}`)])];
}

const trimmed = (path) => path.replace(/\/+$/, "");

function bodies(text) {
  let made = [""];
  const parts = text.split("/");
  parts.forEach((part, number) => {
    const tail = number === parts.length - 1 ? "" : "/";
    if (part === "**") made = [...made.map((each) => each + ANY + tail), ...(tail ? made : [])];
    else made = made.map((each) => each + part.replaceAll("*", SEGMENT).replaceAll("?", ONE) + tail);
  });
  return made.slice(0, 64);
}

/** From the root, with `.`, `..` and double slashes taken away as far as they are known. */
export function absolute(path, cwd, home) {
  let text = path;
  if (path === "~" || path.startsWith("~/")) text = home + path.slice(1);
  else if (!path.startsWith(ANY) && !path.startsWith("/")) text = `${cwd}/${path}`;
  let kept = [];
  for (const part of text.split("/")) {
    if (part === ".." || (special(part) && part.startsWith(".") && possible("..", part))) {
      if (kept.some((each) => each.includes(ANY))) kept = [ANY];
      else kept.pop();
    } else if (part !== "" && part !== ".") kept.push(part);
  }
  const made = kept.join("/");
  return made.startsWith(ANY) ? made : `/${made}`;
}

/** The path, and where a glob in it may be `..` or hidden files, such as `.*`, the path as it is for these too. */
export function readings(path) {
  const wide = (part) => part !== ".." && part.startsWith(".") && possible("..", part);
  const named = path.split("/").map((part) => (wide(part) ? ONE + part.slice(1) : part)).join("/");
  return named === path ? [path] : [path, named];
}

/** What of a word may be a path: all of it, and what follows `=`, `@`, `:` or the letter of an option. */
export function candidates(word) {
  const found = [];
  if (!word || word === "-" || word === "--") return found;
  if (!word.startsWith("-")) found.push(word);
  else if (!word.startsWith("--") && word.length > 2) found.push(word.slice(2));
  for (const sign of "=@:") {
    const at = word.indexOf(sign);
    const rest = at < 0 ? "" : word.slice(at + 1);
    if (rest && !rest.startsWith("//")) found.push(rest);
  }
  return found;
}
