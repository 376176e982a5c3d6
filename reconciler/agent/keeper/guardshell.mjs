// What a bash command would do: every simple command in it, wherever it hides, and every file that it redirects to or from. The same
// as core/governance/permissions/shell.py of the controller; one table of cases runs against both.
import { CannotRead, full, newAct } from "./guardacts.mjs";
import { parse } from "./guardgrammar.mjs";
import { ANY, plain, special } from "./guardpatterns.mjs";
import { run } from "./guardprograms.mjs";
import { TABLES } from "./guardtables.mjs";
import { BLOCKS, COMMANDS, WORDS, Words, set, spaced, wordsOf } from "./guardwords.mjs";

const LONGEST = 10_000;
const DEEPEST = 40;
const STRANGE = /[\x00-\x08\x0b-\x1f\x7f\x85\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ue000-\uf8ff]/;
const COUNTED = /\[[^\]]*(\$\(|`)/;
const COUNTS = /(?<![\w.$-])(?:\(\(|\$\(\(|\$\[|let |declare|typeset|local|test|\[|printf|unset|read)/;
const GAP = /^(\s|\\\n)*$/;
const CLOSED_KINDS = set(
  "string raw_string ansi_c_string word heredoc_body expansion arithmetic_expansion regex extglob_pattern comment test_command simple_expansion concatenation heredoc_redirect string_content",
);
const NESTED = set("if_statement while_statement case_item subshell compound_statement elif_clause else_clause");
const OWN_SHELL = set("subshell command_substitution process_substitution");
const QUIET = new Set(["/dev/null", "/dev/stdout", "/dev/stderr", "/dev/stdin", "/dev/zero", "/dev/tty"]);

export class Shell extends Words {
  constructor(source, cwd, variables, depth = 0, functions = new Set(), written = new Set()) {
    super();
    Object.assign(this, { source, cwd, variables, depth, functions, written, given: [], acts: [] });
  }

  /** All that it would do. What can't be read is an opaque act. */
  read() {
    try {
      this.script();
    } catch (error) {
      const deep = error instanceof RangeError;
      if (!deep && !(error instanceof CannotRead)) throw error;
      this.acts.push(newAct("opaque", "", this.source.slice(0, 200), { why: deep ? "it is nested too deeply" : error.message }));
    }
    return this.acts;
  }

  script() {
    const { source } = this;
    if (Array.from(source).length > LONGEST) throw new CannotRead(`it is longer than ${LONGEST} characters`);
    if (this.depth > DEEPEST) throw new CannotRead("it is nested too deeply");
    if (STRANGE.test(source)) throw new CannotRead("it has characters in it that are read in more than one way");
    if (/[^\s\\]\\\n[^\s]/.test(source)) throw new CannotRead("a line is continued within a word");
    if (COUNTS.test(source) && COUNTED.test(source)) throw new CannotRead("an index has a command in it");
    const tree = parse(source);
    try {
      this.sound(tree.rootNode, 0);
      this.children(tree.rootNode);
    } finally {
      tree.delete();
    }
  }

  /** The tree has no error and leaves nothing of the text out. */
  sound(node, depth) {
    if (node.type === "ERROR" || node.isMissing || depth > 200) throw new CannotRead("it can't be parsed");
    if (node.type === "comment") {
      const before = this.source.slice(Math.max(0, node.startIndex - 1), node.startIndex);
      if (this.text(node).includes("\n") || (before && !" \t\n;&|()".includes(before))) throw new CannotRead("it is not clear where a comment begins");
    }
    const children = node.children;
    if (!CLOSED_KINDS.has(node.type) && children.length) {
      let at = node.startIndex;
      for (const child of children) {
        if (!GAP.test(this.source.slice(at, child.startIndex))) throw new CannotRead("it can't be parsed whole");
        at = child.endIndex;
      }
    }
    for (const child of children) this.sound(child, depth + 1);
  }

  children(node, skip = 0) {
    for (const child of node.children.slice(skip)) if (child.isNamed && child.type !== "comment") this.statement(child);
  }

  /** What may run, or runs in a shell of its own: what it assigns is not known afterwards. */
  apart(node, skip = 0) {
    const cwd = this.cwd;
    this.unsure(() => this.children(node, skip));
    if (this.cwd !== cwd) this.cwd = OWN_SHELL.has(node.type) ? cwd : ANY;
  }

  unsure(work) {
    const before = { ...this.variables };
    work();
    for (const name of new Set([...Object.keys(before), ...Object.keys(this.variables)])) {
      if (before[name] !== this.variables[name]) before[name] = ANY;
    }
    this.variables = before;
  }

  statement(node) {
    const kind = node.type;
    if (kind === "command") return this.command(node, [], []);
    if (kind === "redirected_statement") return this.redirected(node);
    if (kind === "pipeline") return this.pipeline(node);
    if (kind === "list") return this.list(node);
    if (kind === "for_statement") return this.loop(node);
    if (kind === "function_definition") return this.definition(node);
    if (kind === "variable_assignment") return void this.assign(node);
    if (kind === "variable_assignments") return node.children.filter((child) => child.isNamed).forEach((child) => this.assign(child));
    if (kind === "declaration_command") return this.declare(node);
    if (kind === "test_command" || kind === "unset_command") return this.inside(node);
    if (kind === "c_style_for_statement") {
      for (const child of node.children) {
        if (child.type === "do_group" || child.type === "compound_statement") this.apart(child);
        else if (child.isNamed) this.inside(child);
      }
      return;
    }
    if (kind === "case_statement") {
      for (const child of node.children) {
        if (child.type === "case_item") this.branch(child);
        else if (child.isNamed) this.word(child);
      }
      return;
    }
    if (kind === "compound_statement" && this.text(node).startsWith("((")) return this.inside(node);
    if (!BLOCKS.has(kind)) throw new CannotRead(`it has a ${spaced(kind)} in it`);
    if (NESTED.has(kind)) return this.apart(node);
    this.children(node);
  }

  definition(node) {
    const name = node.childForFieldName("name");
    const body = node.childForFieldName("body");
    if (!name || !body) throw new CannotRead("a function has no body");
    this.functions.add(this.text(name));
    this.apart(node, node.children.findIndex((child) => child.id === body.id));
  }

  branch(node) {
    this.unsure(() => {
      for (const child of node.children) {
        if (COMMANDS.has(child.type)) this.statement(child);
        else if (WORDS.has(child.type)) this.word(child);
      }
    });
  }

  list(node) {
    this.statement(node.children[0]);
    const sure = node.children.every((child) => child.isNamed || child.type === "&&");
    const cwd = this.cwd;
    this.unsure(() => this.children(node, 1));
    if (this.cwd !== cwd && !sure) this.cwd = ANY;
  }

  pipeline(node) {
    const stages = node.children.filter((child) => child.isNamed && child.type !== "comment");
    stages.forEach((stage, number) => {
      const { cwd, given } = this;
      if (number) this.given = [ANY];
      this.unsure(() => this.statement(stage));
      Object.assign(this, { cwd, given });
    });
  }

  loop(node) {
    const name = node.childForFieldName("variable");
    const body = node.childForFieldName("body");
    if (!name || !body) throw new CannotRead("a loop has no body");
    let values = this.words(wordsOf(node));
    if (values.length > 8 || !values.length || this.text(node).startsWith("select")) values = [ANY];
    for (const value of [...values, undefined]) {
      if (value !== undefined) this.variables[this.text(name)] = value;
      this.apart(body);
    }
    this.variables[this.text(name)] = ANY;
  }

  // --- assignments ------------------------------------------------------------------------------------------------------------

  assign(node, alone = true) {
    const name = node.childForFieldName("name");
    const value = node.childForFieldName("value");
    if (!name) throw new CannotRead("an assignment has no name");
    if (name.type === "subscript") this.inside(name);
    const known = /^\w+/.exec(this.text(name))?.[0] ?? "";
    let held;
    if (value?.type === "array") {
      for (const child of value.children) if (child.isNamed) WORDS.has(child.type) ? this.word(child) : this.inside(child);
      held = ANY;
    } else held = value ? this.word(value) : "";
    if (this.text(node).slice(0, this.text(name).length + 2).includes("+=") || name.type === "subscript") held = ANY;
    if (alone) {
      this.variables[known] = held;
      if (full(TABLES.DANGEROUS, known)) throw new CannotRead(`it sets ${known}, which changes what runs`);
    }
    return known;
  }

  declare(node) {
    for (const child of node.children) {
      if (child.type === "variable_assignment") this.assign(child);
      else if (WORDS.has(child.type)) {
        const told = this.word(child);
        if (!plain(told) || /^-\w*[niA]/.test(told) || told.includes("=")) throw new CannotRead("a declaration is not known before it runs");
      } else if (child.type === "variable_name") this.variables[this.text(child)] = ANY;
    }
  }

  /** Commands within something that is not a command itself. */
  inside(node) {
    for (const child of node.children) {
      if (child.type === "command_substitution" || child.type === "process_substitution") this.substitution(child);
      else if (child.type === "variable_name" && node.type !== "simple_expansion") this.variables[this.text(child)] = ANY;
      else if (COMMANDS.has(child.type) && child.type !== "test_command") this.statement(child);
      else this.inside(child);
    }
  }

  substitution(node) {
    if (node.children[0]?.type === "`" && this.text(node).includes("\\")) throw new CannotRead("a substitution in back quotes has a backslash in it");
    this.apart(node);
  }

  // --- redirects --------------------------------------------------------------------------------------------------------------

  redirected(node, stdin = []) {
    const body = node.childForFieldName("body");
    const last = body?.type === "list" || body?.type === "pipeline"; // then it belongs to the last command of these
    if (last) this.givenTo(body, [ANY]);
    const extra = [];
    for (const child of node.children) {
      if (child.type === "file_redirect") {
        const { behind, given } = this.fileRedirect(child);
        extra.push(...behind);
        if (given.length) stdin = given;
      } else if (child.type === "heredoc_redirect") stdin = [this.heredoc(child)];
      else if (child.type === "herestring_redirect") stdin = this.words(wordsOf(child));
    }
    if (body?.type === "command") return this.command(body, extra, stdin);
    if (extra.length) throw new CannotRead("words follow a redirect");
    if (body && COMMANDS.has(body.type) && !last) this.givenTo(body, stdin.length ? stdin : this.given);
  }

  /** Commands in it that are given no other text are given this one. */
  givenTo(node, text) {
    const { given } = this;
    this.given = text;
    this.statement(node);
    this.given = given;
  }

  /** `behind`: words that stand behind the target and belong to the command. */
  fileRedirect(node) {
    const targets = this.words(wordsOf(node));
    return { given: this.redirect(node, targets), behind: targets.slice(1) };
  }

  redirect(node, [target]) {
    const sign = node.children.find((child) => !child.isNamed)?.type ?? "";
    if (target === undefined) {
      if (sign === ">&-" || sign === "<&-") return [];
      throw new CannotRead("a redirect has no target");
    }
    if ((sign === ">&" || sign === "<&") && /^(\d+-?|-)$/.test(target)) return [];
    if (/^\/dev\/(tcp|udp)\//.test(target) || (target.includes(ANY) && sign === "<&")) throw new CannotRead("it opens a connection");
    const reads = sign === "<" || sign === "<&";
    if (!QUIET.has(target)) {
      this.acts.push(newAct(reads ? "read" : "write", target, this.text(node), { cwd: this.cwd }));
      if (sign === "<>") this.acts.push(newAct("read", target, this.text(node), { cwd: this.cwd }));
    }
    if (!reads) this.written.add(target);
    return reads || sign === "<>" ? [ANY] : [];
  }

  heredoc(node) {
    const [start, body, end] = ["heredoc_start", "heredoc_body", "heredoc_end"].map((kind) => node.children.find((child) => child.type === kind));
    if (!start || !end) throw new CannotRead("a here-document has no end");
    const told = this.heredocText(node, start, body, end);
    for (const child of node.children) {
      if (child.type === "file_redirect") {
        if (this.fileRedirect(child).behind.length) throw new CannotRead("words follow a redirect");
      } else if (child.type === "pipeline") {
        for (const stage of child.children.filter((each) => each.isNamed)) {
          if (stage.type === "command") this.command(stage, [], [ANY]);
          else this.statement(stage);
        }
      } else if (COMMANDS.has(child.type)) this.statement(child);
      else if (WORDS.has(child.type)) throw new CannotRead("words follow a here-document");
    }
    return told;
  }

  heredocText(node, start, body, end) {
    const word = this.text(start);
    const quoted = /^(?:'([^'\\]+)'|"([^"\\$`]+)"|\\?([\w.+-]+))$/.exec(word);
    if (!quoted) throw new CannotRead("it is not clear where a here-document ends");
    const mark = quoted[1] ?? quoted[2] ?? quoted[3];
    const raw = body ? this.text(body) : "";
    const tabs = this.text(node).startsWith("<<-");
    const lines = raw.split("\n").map((line) => (tabs ? line.replace(/^\t+/, "") : line));
    if (lines.includes(mark) || this.text(end).replace(/^\t+/, "") !== mark) throw new CannotRead("it is not clear where a here-document ends");
    if (quoted[3] === undefined || word.startsWith("\\")) return lines.join("\n");
    if (raw.includes("`")) throw new CannotRead("a here-document has back quotes in it");
    if (body) this.inside(body);
    return /[$`\\]/.test(raw) ? ANY : raw;
  }

  // --- simple commands --------------------------------------------------------------------------------------------------------

  command(node, extra, stdin) {
    const names = [];
    const parts = [];
    for (const child of node.children) {
      if (child.type === "variable_assignment") {
        names.push(this.assign(child, false));
        if (child.nextSibling?.startIndex === child.endIndex) throw new CannotRead("it is not clear where an assignment ends");
      } else if (child.type === "command_name") parts.push(child.children[0]);
      else if (WORDS.has(child.type)) parts.push(child);
      else if (child.type === "herestring_redirect") stdin = this.words(wordsOf(child));
      else if (child.type === "file_redirect") {
        const { behind, given } = this.fileRedirect(child);
        if (given.length) stdin = given;
        extra = [...extra, ...behind];
      } else if (child.type === "heredoc_redirect") stdin = [this.heredoc(child)];
      else if (child.type === "subshell") throw new CannotRead("a command is followed by a bracket");
      else if (child.type !== "$") throw new CannotRead(`a command has a ${spaced(child.type)} in it`);
      else if (parts.at(-1)?.endIndex === child.startIndex) throw new CannotRead("it is not clear where a word ends"); // of $"…"
    }
    run(this, [...this.words(parts), ...extra], names, stdin.length ? stdin : this.given, this.text(node));
  }

  /** Text that a command runs as a script of its own. */
  inner(source, part) {
    if (special(source)) return void this.acts.push(newAct("opaque", "", part, { why: "it runs text that is not known before" }));
    const shell = new Shell(source, this.cwd, { ...this.variables }, this.depth + 1, new Set(this.functions), new Set(this.written));
    this.acts.push(...shell.read());
  }
}

/** All that a command would do when it is run in `cwd`. */
export const readCommand = (source, cwd, home) => new Shell(source, cwd, { HOME: home, PWD: cwd }).read();
