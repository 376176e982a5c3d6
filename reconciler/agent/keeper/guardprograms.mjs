// What a simple command runs: programs that run others are looked through, programs that run text are told. The same as
// core/governance/permissions/programs.py of the controller; one table of cases runs against both.
import path from "node:path";
import { CannotRead, full, newAct } from "./guardacts.mjs";
import { ANY, SEP, plain, special } from "./guardpatterns.mjs";
import { unquoted } from "./guardquoting.mjs";
import { TABLES } from "./guardtables.mjs";

const SED_SAFE =
  /^([\d$,~+]*|\/[^/\n]*\/(,\/[^/\n]*\/)?)!?\s*([pdqD=]|s([/|#,:@])((?!\4)[^\n]|\\.)*\4((?!\4)[^\n]|\\.)*\4[gpiIm\d]*|y([/|])[^\n]*\7[^\n]*\7)?$/;
const CONFIG =
  /^(alias|core\.(pager|editor|sshcommand|fsmonitor|hookspath|askpass|gitproxy)|diff\.|filter|merge\.|credential|gpg|sequence|url|include|pager|uploadpack|receive|interactive|difftool|mergetool|browser|man)/i;
const MESSAGE = /^(-[a-zA-Z]*m|--message|--author|--date|--format|--pretty|--grep|--since|--until)$/;
const has = (list, name) => TABLES[list].includes(name);
const baseOf = (name) => (name.endsWith("/") ? "" : path.posix.basename(name));
const dangerous = (name) => full(TABLES.DANGEROUS, name);

/** Notes what these words do. `names`: variables set for them; `stdin`: the text that they are given, [] when it is nobody's. */
export function run(shell, words, names, stdin, part) {
  if (names.some(dangerous) && !(names.every((name) => name === "IFS") && words[0] === "read")) {
    opaque(shell, part, `it sets ${names.join(", ")}, which may change what runs`);
  }
  if (!words.length) return;
  if (!plain(words[0]) || words[0] === "") return opaque(shell, part, "the command itself is not known before it runs", words.join(SEP));
  let name = baseOf(words[0]);
  if (justWritten(shell, words[0])) opaque(shell, part, "it runs a file that it has just written");
  if (shell.functions.has(words[0])) return;
  if (/^(ld-linux.*|ld-musl.*|ld\.so.*)$/.test(name)) name = "env";
  const base = name in TABLES.INLINE ? name : name.replace(/[\d.]+$/, "") || name;
  if (name in TABLES.WRAPPERS || name in TABLES.PRIVILEGED) return wrapper(shell, words, name, names, stdin, part);
  if (name in TABLES.RUNNERS) runner(shell, words, TABLES.RUNNERS[name], stdin, part);
  if (has("SHELLS", name)) return subshell(shell, words, names, stdin, part);
  if (name === "eval" || name === "trap") return evaluated(shell, words, name, part);
  if (name === "source" || name === ".") {
    if (words.length < 2 || !plain(words[1]) || words[1].startsWith("/dev/") || justWritten(shell, words[1])) {
      return opaque(shell, part, "it reads commands from what is not known before");
    }
    return act(shell, words, names, part);
  }
  const harmless = (name === "crontab" && words.includes("-l")) || ((name === "hash" || name === "enable") && words.includes("-r"));
  if (has("RUNS_TEXT", name) && !harmless) return opaque(shell, part, `${name} runs text, or binds it to a name`, words.join(SEP));
  setters(shell, words, name);
  if (name === "find") return find(shell, words, names, part);
  if (name === "git") return git(shell, words, names, part);
  if (name === "cd" || name === "pushd") cd(shell, words);
  if (name === "tee") {
    for (const word of words.slice(1)) {
      if (!word.startsWith("-") && word !== "/dev/null") shell.acts.push(newAct("write", word, part, { cwd: shell.cwd }));
      shell.written.add(word);
    }
  }
  if (name === "dd") {
    for (const word of words.slice(1)) if (word.startsWith("of=")) shell.acts.push(newAct("write", word.slice(3), part, { cwd: shell.cwd }));
  }
  if (["cp", "mv", "ln", "install"].includes(name)) shell.written.add(words.at(-1));
  const inline = inlined(words, base) || told(words, base);
  const piped = has("GIVEN", base) && (words.slice(1).includes("-") || words.slice(1).every((word) => word.startsWith("-")));
  if (!inline && piped && stdin.length) return opaque(shell, part, `${name} runs what it is given`, words.join(SEP));
  act(shell, words, names, part, inline);
}

function act(shell, words, names, part, inline = 0, strict = false, files = named(words)) {
  const name = baseOf(words[0]);
  const reads =
    has("READERS", name) ||
    (name === "git" && words.length > 1 && has("GIT_READERS", words[1])) ||
    (name === "sed" && !words.some((word) => /^(-[a-zA-Z]*i|--in-place)/.test(word)));
  const free = strict || (has("FREE", words[0]) && !inline);
  const verb = words.find((word, at) => at > 0 && !word.startsWith("-")) ?? "";
  const sweeps = has("SWEEPS", name) || (name === "git" && has("GIT_SWEEPS", verb));
  const reach = sweeps ? [`./${ANY}`] : [];
  const open = has("PASSIVE", name) ? [] : files;
  shell.acts.push(newAct("run", words.join(SEP), part, { cwd: shell.cwd, strict: free, names, inline, mutates: !reads, files: open, reach }));
}

/** Which words may name files: awk's separator, often a slash, does not. */
function named(words) {
  const awk = baseOf(words[0]).endsWith("awk");
  return words.filter((word, at) => at && !(awk && (word.startsWith("-F") || words[at - 1] === "-F")));
}

function opaque(shell, part, why, text = "") {
  shell.acts.push(newAct("opaque", text, part, { why, cwd: shell.cwd }));
}

/** The command behind the options of one that runs another. */
function wrapper(shell, words, name, names, stdin, part) {
  const own = name in TABLES.PRIVILEGED;
  const [takes, skip] = own ? TABLES.PRIVILEGED[name] : TABLES.WRAPPERS[name];
  const here = [...names];
  let there = "";
  let at = 1;
  act(shell, words, names, part, 0, !own);
  while (at < words.length) {
    const word = words[at];
    if (name === "env" && word === "-") {
      at += 1;
      continue;
    }
    if (name === "env" && /^(-S|--split-string|-vS)/.test(word)) return opaque(shell, part, "env splits a text into a command");
    if (word === "--") {
      at += 1;
      break;
    }
    if (word.startsWith("-") && word.length > 1) {
      if (name === "command" && (word === "-v" || word === "-V")) return;
      if (name === "env" && (word === "-C" || word === "--chdir" || word.startsWith("--chdir="))) {
        there = word.includes("=") ? word.slice(8) : (words[at + 1] ?? ANY);
      }
      at += takes.includes(word) ? 2 : 1;
      continue;
    }
    if (["env", "sudo", "doas"].includes(name) && /^\w+=/.test(word)) {
      here.push(word.split("=")[0]);
      at += 1;
      continue;
    }
    if (!plain(word) && word.startsWith(ANY)) return opaque(shell, part, "the command itself is not known before it runs", words.join(SEP));
    break;
  }
  let rest = words.slice(at + skip);
  if (name === "ssh" && words.some((word) => /^(-o)?(ProxyCommand|LocalCommand|KnownHostsCommand|Match|Include)/.test(word))) {
    return opaque(shell, part, "ssh runs a command of its options");
  }
  if (name === "xargs" || name === "parallel") {
    if (!rest.length) {
      if (name === "parallel") opaque(shell, part, "parallel runs what it is given");
      return;
    }
    rest = [...rest.map((word) => word.replaceAll("{}", ANY)), ANY];
    stdin = [];
  }
  if (["watch", "ssh", "parallel", "flock"].includes(name) && rest.length && (rest.length === 1 || name !== "flock" || rest[0] === "-c")) {
    const text = (rest[0] === "-c" ? rest.slice(1) : rest).join(" ");
    return shell.inner(name === "parallel" ? text.replace(/[ \ue000]+$/, "") : text, part);
  }
  if (!rest.length) return;
  const before = shell.acts.length;
  const { cwd } = shell;
  if (there) shell.cwd = inside(shell, there);
  run(shell, rest, here, stdin, part);
  if (there) shell.cwd = cwd;
  if (own) for (const one of shell.acts.slice(before)) if (one.kind === "run") one.strict = true;
}

/** The command that one of these runs may be denied; the permission is that of the runner. */
function runner(shell, words, by, stdin, part) {
  let rest = words.slice(1);
  if (by.length) {
    const at = rest.findIndex((word) => by.includes(word));
    rest = at < 0 ? [] : rest.slice(at + 1);
  }
  if (rest.includes("--")) rest = rest.slice(rest.indexOf("--") + 1);
  while (rest.length && (rest[0].startsWith("-") || /^\w+=/.test(rest[0]))) rest = rest.slice(1);
  const before = shell.acts.length;
  if (rest.length) run(shell, rest, [], stdin, part);
  for (const one of shell.acts.slice(before)) if (one.kind === "run") one.strict = true;
}

const bare = (file) => file.replace(/^\.\//, "");
const justWritten = (shell, file) => [...shell.written].some((made) => bare(made) === bare(file));

/** A shell: its `-c` text is read as a script; what it is given on its input too, when that is known. */
function subshell(shell, words, names, stdin, part) {
  act(shell, words, names, part, 0, true);
  let at = 1;
  for (; at < words.length; at++) {
    const word = words[at];
    if (!plain(word) && word.startsWith(ANY)) return opaque(shell, part, "it runs text that is not known before");
    if (/^-[a-zA-Z]*c[a-zA-Z]*$/.test(word)) {
      const [text] = words.slice(at + 1).filter((one) => !/^[-+][a-zA-Z]+$/.test(one));
      return text === undefined ? undefined : shell.inner(text, part);
    }
    if (word === "--rcfile" || word === "--init-file") return opaque(shell, part, "it reads another file of commands first");
    if (["-O", "+O", "-o", "+o"].includes(word)) {
      at += 1;
      continue;
    }
    if (word === "--version" || word === "--help") return;
    if (word === "-s" || !/^[-+]/.test(word)) break;
  }
  if (at < words.length && words[at] !== "-s" && !words[at].startsWith("/dev/")) {
    if (justWritten(shell, words[at]) || !plain(words[at])) {
      return opaque(shell, part, "it runs a file that is written by the same call");
    }
    return act(shell, words, names, part);
  }
  if (stdin.length && plain(stdin[0])) return shell.inner(stdin[0], part);
  opaque(shell, part, "it runs what it is given");
}

function evaluated(shell, words, name, part) {
  let rest = words.slice(1);
  if (rest[0] === "--") rest = rest.slice(1);
  if (name === "trap") {
    if (!rest.length || ["-", "", "-l", "-p"].includes(rest[0])) return;
    rest = rest.slice(0, 1);
  }
  const text = rest.join(" ");
  if (special(text)) return opaque(shell, part, `${name} runs text that is not known before`);
  shell.inner(text, part);
  opaque(shell, part, `${name} runs text`);
}

/** Builtins that set variables. */
function setters(shell, words, name) {
  const rest = words.slice(1);
  if (["read", "mapfile", "readarray", "getopts"].includes(name) || (name === "printf" && words.includes("-v"))) {
    if ((name === "mapfile" || name === "readarray") && rest.some((word) => /^-[Cc]/.test(word))) throw new CannotRead("mapfile runs a command for each line");
    if (!rest.every(plain)) for (const known of Object.keys(shell.variables)) shell.variables[known] = ANY;
    for (const word of rest) if (/^\w+$/.test(word)) shell.variables[word] = ANY;
    if (rest.some(dangerous)) throw new CannotRead("a builtin sets a variable that changes what runs");
  }
  if (name === "set" && rest.some((word) => word.startsWith("--") || !/^[-+]/.test(word))) {
    for (let number = 1; number < 10; number++) shell.variables[number] = ANY;
  }
}

/** `-exec` runs a command, `-delete` removes, `-fprint` writes. */
function find(shell, words, names, part) {
  const place = found(words);
  const below = roots(shell, words).map((root) => root + place);
  for (let at = 0; at < words.length; at++) {
    const word = words[at];
    const before = shell.acts.length;
    if (["-exec", "-execdir", "-ok", "-okdir"].includes(word)) {
      const last = words.findIndex((one, number) => number > at && (one === ";" || one === "+"));
      const end = last < 0 ? words.length : last;
      run(shell, words.slice(at + 1, end).map((one) => (one.includes("{}") ? place : one)), [], [], part);
      at = end;
    } else if (word === "-delete") run(shell, ["rm", ANY], [], [], part);
    else if (/^(-fprint|-fls)/.test(word) && at + 1 < words.length) shell.acts.push(newAct("write", words[at + 1], part, { cwd: shell.cwd }));
    else if (!plain(word) && word.startsWith(ANY)) opaque(shell, part, "an option of find is not known before it runs");
    for (const one of shell.acts.slice(before)) if (one.mutates) one.reach = [...one.reach, ...below];
  }
  act(shell, words, names, part);
}

/** The places that find begins with. */
function roots(shell, words) {
  const last = words.findIndex((word, at) => at > 0 && (word === "(" || word === "!" || /^-[^HLPDO]/.test(word)));
  const places = words.slice(1, last < 0 ? words.length : last).filter((word) => !/^-[HLPDO]/.test(word));
  const found = (places.length ? places : ["."]).map((place) => inside(shell, place));
  return found.map((place) => (place.startsWith("/") && plain(place) ? path.posix.normalize(place) : place).replace(/\/+$/, "") || "/");
}

/** A place as one from where the shell stands. */
function inside(shell, place) {
  if (!plain(place)) return place.startsWith(ANY) ? ANY : place;
  if (place.startsWith("/")) return place;
  return place === "." || place === "./" ? shell.cwd : `${shell.cwd}/${place.replace(/^\.\//, "")}`;
}

/** What `{}` stands for: a path that ends as the one `-name` says, where there is no other condition that it may fulfil instead. */
function found(words) {
  const at = words.slice(0, -1).flatMap((word, number) => (word === "-name" ? [number] : []));
  if (at.length !== 1 || words.some((word) => ["-o", "-or", "!", "-not", ",", "("].includes(word)) || !plain(words[at[0] + 1])) return ANY;
  return `${ANY}/${unquoted(words[at[0] + 1], "")}`;
}

/** Options of git that run programs; the command without harmless options is what rules speak of. */
function git(shell, words, names, part) {
  const kept = [words[0]];
  const all = words.join(SEP);
  const { cwd } = shell;
  let at = 1;
  while (at < words.length && (words[at].startsWith("-") || !plain(words[at]))) {
    const word = words[at];
    if (!plain(word)) opaque(shell, part, "an option of git is not known before it runs", all);
    if (word === "-c" || word.startsWith("--config-env")) {
      const value = words[at + 1] ?? "";
      if (!full(TABLES.GIT_HARMLESS, value, "i") || !plain(value)) {
        opaque(shell, part, "git -c may run another program", all);
        const alias = /^alias\.[^=]+=!(.*)/s.exec(value);
        if (alias) shell.inner(alias[1], part);
      }
      at += 2;
    } else if (["-C", "--git-dir", "--work-tree", "--namespace", "--super-prefix"].includes(word)) {
      if (word === "-C") shell.cwd = inside(shell, words[at + 1] ?? ANY);
      at += 2;
      if (word !== "-C") opaque(shell, part, "git reads its settings from another place");
    } else {
      if (/^--(git-dir|work-tree|namespace)=/.test(word)) opaque(shell, part, "git reads its settings from another place");
      if (word.startsWith("--exec-path=")) opaque(shell, part, "git runs programs from another place");
      if (!["--no-pager", "-P", "--no-optional-locks", "--literal-pathspecs"].includes(word)) kept.push(word);
      at += 1;
    }
  }
  const rest = words.slice(at);
  const short = (one) => ["-u", "-x", "-O"].includes(one) && !["clone", "rebase", "difftool", "grep", "fetch"].includes(rest[0]);
  const runs = (one) =>
    (has("GIT_RUNS", one) && !short(one)) ||
    TABLES.GIT_RUNS.some((option) => option.startsWith("--") && one.startsWith(`${option}=`)) ||
    one.includes("ext::") ||
    (one.startsWith("-O") && rest[0] === "grep");
  if (rest.some(runs)) opaque(shell, part, "an option of git runs another program or writes a file", all);
  if ((rest[0] === "submodule" && rest[1] === "foreach") || (rest[0] === "bisect" && rest[1] === "run")) {
    shell.inner(rest.slice(2).filter((word) => word !== "--recursive").join(" "), part);
  }
  if (["filter-branch", "send-email", "daemon", "http-backend", "shell", "upload-pack"].includes(rest[0])) opaque(shell, part, `git ${rest[0]} runs programs`);
  const looks = ["--get", "--list", "-l", "--get-all", "--unset", "--get-regexp"];
  if (rest[0] === "config" && rest.length > 2 && rest.slice(1).some((one) => CONFIG.test(one)) && !rest.some((one) => looks.includes(one))) {
    opaque(shell, part, "git config binds a program to a name");
  }
  const files = rest.filter((_, number) => !MESSAGE.test(rest[number - 1] ?? ""));
  act(shell, [...kept, ...rest], names, part, 0, false, files);
  shell.cwd = cwd;
}

function cd(shell, words) {
  const places = words.slice(1).filter((word) => !/^(-[LPe@]+|--)$/.test(word));
  const place = places[0] ?? shell.variables.HOME ?? ANY;
  if (place === "-" || !plain(place) || "CDPATH" in shell.variables) shell.cwd = ANY;
  else shell.cwd = place.startsWith("/") ? place : `${shell.cwd}/${place}`;
  shell.variables.PWD = shell.variables.OLDPWD = ANY;
}

/** How many words name the program and the option by which it runs code given as an argument; 0 when it does not. */
function inlined(words, base) {
  const options = TABLES.INLINE[base] ?? [];
  const early = ["python", "python3", "node", "perl", "ruby", "php"];
  for (let at = 1; at < words.length; at++) {
    const word = words[at];
    for (const option of options) {
      const short = /^-[A-Za-z]$/.test(option);
      if (word === option || word.startsWith(`${option}=`)) return at + 1;
      if (short && !word.startsWith("--") && new RegExp(`^-[A-Za-z0-9]*${option[1]}`).test(word)) return at + 1;
      if (option.startsWith("--") && !word.includes("=") && word.length > 4 && option.startsWith(word)) return at + 1;
    }
    if (!plain(word) && word.startsWith(ANY) && options.length && early.includes(base)) return at + 1;
    if ([...early, "npx"].includes(base) && !word.startsWith("-")) return 0;
  }
  return 0;
}

/** The same for programs whose code runs others only where that stands in it. */
function told(words, base) {
  if (base === "sed") return sed(words);
  const telling = TABLES.TELLING[base];
  if (telling === undefined) return 0;
  const found = words.findIndex((word, at) => at > 0 && (new RegExp(telling).test(word) || (!plain(word) && at === 1)));
  return found < 0 ? 0 : found + 1;
}

function sed(words) {
  let scripts = [];
  const rest = [];
  for (let at = 1; at < words.length; at++) {
    const word = words[at];
    if (word === "-e" || word === "--expression") scripts.push(words[++at] ?? ANY);
    else if (word.startsWith("--expression=")) scripts.push(word.slice("--expression=".length));
    else if (word.startsWith("-f") || word.startsWith("--file")) return at + 1;
    else if (/^-[nErszu]*e.+$/.test(word)) scripts.push(word.replace(/^-[nErszu]*e/, ""));
    else if (!word.startsWith("-")) rest.push(word);
  }
  if (!scripts.length) scripts = rest.slice(0, 1);
  const split = (script) => (/^[^/|#,:@]*;[^/|#,:@]*$/.test(script) ? script.split(/;|\n/) : script.split(/(?<=[/|#gpd]);\s*/));
  return scripts.every((script) => plain(script) && split(script).every((one) => SED_SAFE.test(one.trim()))) ? 0 : 2;
}
