// The words of a script: what each becomes once bash has read its quotes, variables and globs, as far as that is known. The same as
// core/governance/permissions/words.py of the controller.
import { CannotRead } from "./guardacts.mjs";
import { ANY } from "./guardpatterns.mjs";
import { ansiC, inDoubleQuotes, unquoted } from "./guardquoting.mjs";

export const set = (text) => new Set(text.split(" "));
export const spaced = (kind) => kind.replaceAll("_", " ");
const BRACES = /^([\w./@%+:=~-]*)\{([\w./@%+:=~-]*(?:,[\w./@%+:=~-]*)+)\}([\w./@%+:=~-]*)$/;
export const wordsOf = (node) => node.children.filter((child) => WORDS.has(child.type));
const SIMPLE = /^[A-Za-z0-9_./:@%+=,-]*$/;
export const BLOCKS = set(
  "program list pipeline negated_command if_statement elif_clause else_clause while_statement do_group case_item subshell compound_statement redirected_statement",
);
export const COMMANDS = new Set([
  ...BLOCKS,
  ...set("command for_statement c_style_for_statement case_statement function_definition test_command declaration_command unset_command variable_assignment variable_assignments"),
]);
export const WORDS = set(
  "word number string raw_string ansi_c_string translated_string concatenation simple_expansion expansion command_substitution process_substitution arithmetic_expansion brace_expression extglob_pattern regex",
);

export class Words {
  text(node) {
    return this.source.slice(node.startIndex, node.endIndex);
  }

  /** What a word becomes, with `ANY` for what is not known; substitutions in it are read as commands. */
  word(node) {
    const text = this.text(node);
    switch (node.type) {
      case "word":
      case "number":
        if (node.children.some((child) => child.isNamed)) this.inside(node);
        return unquoted(text, this.variables.HOME ?? ANY);
      case "extglob_pattern":
      case "brace_expression":
        this.inside(node);
        return ANY;
      case "regex":
        return ANY;
      case "raw_string":
        return text.slice(1, -1);
      case "ansi_c_string":
        return ansiC(text.slice(2, -1));
      case "translated_string":
        return this.string(node.children.find((child) => child.type === "string"));
      case "string":
        return this.string(node);
      case "concatenation":
        return this.joined(node);
      case "simple_expansion":
      case "expansion":
        return this.variable(node, false);
      case "command_substitution":
      case "process_substitution":
        this.substitution(node);
        return node.type === "command_substitution" ? ANY : "/dev/fd/63";
      case "arithmetic_expansion":
        this.inside(node);
        return ANY;
      default:
        throw new CannotRead(`it has a ${spaced(node.type)} in it`);
    }
  }

  /** What these become, one after the other: without a blank between them they are one word, and simple braces are several. */
  words(nodes) {
    const made = [];
    let end = -1;
    for (const node of nodes) {
      const braces = BRACES.exec(this.text(node));
      if (node.startIndex === end && made.length) made.push(made.pop() + this.word(node));
      else if (braces && made.length) made.push(...braces[2].split(",").map((one) => unquoted(braces[1] + one + braces[3], this.variables.HOME ?? ANY)));
      else made.push(this.word(node));
      end = node.endIndex;
    }
    return made;
  }

  joined(node) {
    const parts = [];
    let at = node.startIndex;
    let raw = false;
    for (const child of node.children) {
      if (child.startIndex !== at) throw new CannotRead("a word can't be parsed whole");
      at = child.endIndex;
      if (child.isNamed) parts.push(this.word(child));
      else if (child.type !== "$" && child.type !== "`") {
        raw = true;
        parts.push(this.text(child));
      }
    }
    if (node.children.every((child) => child.type === "word" || child.type === "number")) return unquoted(this.text(node), this.variables.HOME ?? ANY);
    const outer = node.children.filter((child) => child.type === "word" || !child.isNamed).map((child) => this.text(child)).join("");
    const made = parts.join("");
    if (outer.includes("[") || (outer.includes("{") && (outer.includes(",") || outer.includes("..")))) {
      const at = ["[", "{"].map((sign) => made.indexOf(sign)).map((found) => (found < 0 ? made.length : found));
      return made.slice(0, Math.min(...at)) + ANY;
    }
    return raw ? ANY : made;
  }

  string(node) {
    const parts = [];
    let at = node.startIndex + 1;
    for (const child of node.children.slice(1, -1)) {
      parts.push(inDoubleQuotes(this.source.slice(at, child.startIndex)));
      if (child.type === "simple_expansion" || child.type === "expansion") parts.push(this.variable(child, true));
      else if (["command_substitution", "arithmetic_expansion", "process_substitution"].includes(child.type)) parts.push(this.word(child));
      else if (child.type === "string_content" || !child.isNamed) parts.push(inDoubleQuotes(this.text(child)));
      else throw new CannotRead(`a string has a ${spaced(child.type)} in it`);
      at = child.endIndex;
    }
    parts.push(inDoubleQuotes(this.source.slice(at, node.endIndex - 1)));
    return parts.join("");
  }

  variable(node, quoted) {
    const text = this.text(node);
    const simple = /^(?:\$(\w+)|\$\{(\w+)\})$/.exec(text);
    if (!simple) {
      if (/@[PAEaKkQUuL]\}$/.test(text)) throw new CannotRead("a variable is read as a prompt or as code");
      if (node.children.some((child) => child.type === "regex" && /[$`]/.test(this.text(child)))) throw new CannotRead("a pattern in a variable is not known");
      const assigned = /^\$\{(\w+):?=/.exec(text);
      if (assigned) this.variables[assigned[1]] = ANY;
      this.inside(node);
      return ANY;
    }
    const held = this.variables[simple[1] ?? simple[2]] ?? ANY;
    return quoted || SIMPLE.test(held) ? held : ANY;
  }
}
