// How bash takes quotes and backslashes away. The same as core/governance/permissions/quoting.py of the controller.
import { ANY, ONE, SEGMENT, VISIBLE } from "./guardpatterns.mjs";

const LETTERS = { n: "\n", t: "\t", r: "\r", a: "\x07", b: "\b", e: "\x1b", E: "\x1b", f: "\f", v: "\v" };

/** What stands between `$'` and `'`. What is no plain character is not known. */
export function ansiC(text) {
  return text.replace(/\\(x[0-9A-Fa-f]{1,2}|u[0-9A-Fa-f]{1,4}|U[0-9A-Fa-f]{1,8}|[0-7]{1,3}|c.|.)/gs, (_, told) => {
    let code;
    if ("xuU".includes(told[0]) && told.length > 1) code = parseInt(told.slice(1), 16);
    else if ("01234567".includes(told[0])) code = parseInt(told, 8) & 255;
    else if (told[0] === "c" && told.length > 1) return ANY;
    else return LETTERS[told] ?? told;
    return code >= 32 && code < 127 ? String.fromCharCode(code) : ANY;
  });
}

export const inDoubleQuotes = (text) => text.replace(/\\([$`"\\]|\n)/g, (_, char) => (char === "\n" ? "" : char));

/** A bare word: backslashes taken away, globs as unknown parts, a leading `~` as the home. */
export function unquoted(text, home) {
  let made = "";
  let at = 0;
  if (text === "~" || text.startsWith("~/")) [made, at] = [home, 1];
  else if (text.startsWith("~")) return ANY;
  while (at < text.length) {
    const char = text[at];
    if (char === "\\") {
      const next = text.slice(at + 1, at + 2);
      made += next === "\n" ? "" : next;
      at += 2;
      continue;
    }
    const end = char === "[" ? text.indexOf("]", at + 2) : -1;
    if (end !== -1) {
      made += ONE;
      at = end + 1;
      continue;
    }
    const starts = !made || made.endsWith("/");
    made += char === "*" ? (starts ? VISIBLE + SEGMENT : SEGMENT) : char === "?" ? ONE : char;
    at += 1;
  }
  const outer = text.replace(/\\./g, "");
  if (outer.includes("{") && (outer.includes(",") || outer.includes(".."))) {
    const brace = made.indexOf("{");
    return made.slice(0, brace < 0 ? -1 : brace) + ANY;
  }
  return made;
}
