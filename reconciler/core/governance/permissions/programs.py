"""What a simple command runs: programs that run others are looked through, programs that run text are told."""

from __future__ import annotations

import posixpath
import re
from dataclasses import replace
from typing import Final

from reconciler.core.governance.permissions.acts import Act, CannotRead, Script
from reconciler.core.governance.permissions.patterns import ANY, SEP, SPECIAL, plain
from reconciler.core.governance.permissions.sedscript import sed
from reconciler.core.governance.permissions.sweeping import GIT_SWEEPS, SWEEPS, found, inside, roots
from reconciler.core.governance.permissions.tables import (
    FREE,
    GIT_READERS,
    GIT_RUNS,
    GIVEN,
    INLINE,
    PASSIVE,
    PRIVILEGED,
    READERS,
    RUNNERS,
    RUNS_TEXT,
    SHELLS,
    TELLING,
    WRAPPERS,
)
from reconciler.core.governance.permissions.variables import DANGEROUS, GIT_HARMLESS

Words = tuple[str, ...]
_CONFIG: Final = re.compile(
    r"(alias|core\.(pager|editor|sshcommand|fsmonitor|hookspath|askpass|gitproxy)|diff\.|filter|merge\.|credential|gpg|sequence|url|include"
    r"|pager|uploadpack|receive|interactive|difftool|mergetool|browser|man)",
    re.I,
)
_LOOKS: Final = {"--get", "--list", "-l", "--get-all", "--unset", "--get-regexp"}
_EARLY: Final = ("python", "python3", "node", "perl", "ruby", "php")
_MESSAGE: Final = re.compile(r"-[a-zA-Z]*m|--message|--author|--date|--format|--pretty|--grep|--since|--until")
_VERSION: Final = re.compile(r"[\d.]+$")


def run(shell: Script, words: Words, names: Words, stdin: Words, part: str) -> None:
    """Notes what these words do. `names`: variables set for them; `stdin`: the text that they are given, () when it is nobody's."""
    if any(re.fullmatch(DANGEROUS, name) for name in names) and not (set(names) == {"IFS"} and words[:1] == ("read",)):
        _opaque(shell, part, f"it sets {', '.join(names)}, which may change what runs")
    if not words:
        return
    if not plain(words[0]) or words[0] == "":
        return _opaque(shell, part, "the command itself is not known before it runs", SEP.join(words))
    name = posixpath.basename(words[0])
    if _just_written(shell, words[0]):
        _opaque(shell, part, "it runs a file that it has just written")
    if words[0] in shell.functions:
        return
    if re.fullmatch(r"ld-linux.*|ld-musl.*|ld\.so.*", name):
        name = "env"
    base = name if name in INLINE else _VERSION.sub("", name) or name
    if name in WRAPPERS or name in PRIVILEGED:
        return _wrapper(shell, words, name, names, stdin, part)
    if name in RUNNERS:
        _runner(shell, words, RUNNERS[name].split(), stdin, part)
    if name in SHELLS:
        return _shell(shell, words, name, names, stdin, part)
    if name in ("eval", "trap"):
        return _eval(shell, words, name, part)
    if name in ("source", "."):
        if len(words) < 2 or not plain(words[1]) or words[1].startswith("/dev/") or _just_written(shell, words[1]):
            return _opaque(shell, part, "it reads commands from what is not known before")
        return _act(shell, words, names, part)
    if name in RUNS_TEXT and not (name == "crontab" and "-l" in words) and not (name in ("hash", "enable") and "-r" in words):
        return _opaque(shell, part, f"{name} runs text, or binds it to a name", SEP.join(words))
    _setters(shell, words, name)
    if name == "find":
        return _find(shell, words, names, part)
    if name == "git":
        return _git(shell, words, names, part)
    if name in ("cd", "pushd"):
        _cd(shell, words)
    if name == "tee":
        shell.acts += [Act("write", word, part, cwd=shell.cwd) for word in words[1:] if not word.startswith("-") and word != "/dev/null"]
        shell.written.update(words[1:])
    if name == "dd":
        shell.acts += [Act("write", word[3:], part, cwd=shell.cwd) for word in words[1:] if word.startswith("of=")]
    if name in ("cp", "mv", "ln", "install"):
        shell.written.add(words[-1])
    inline = _inline(words, base) or _told(words, base)
    piped = base in GIVEN and (len(words) == 1 or "-" in words[1:] or all(word.startswith("-") for word in words[1:]))
    if not inline and piped and stdin:
        return _opaque(shell, part, f"{name} runs what it is given", SEP.join(words))
    _act(shell, words, names, part, inline)


def _act(shell: Script, words: Words, names: Words, part: str, inline: int = 0, strict: bool = False, files: Words | None = None) -> None:
    name = posixpath.basename(words[0])
    edits = any(re.match(r"-[a-zA-Z]*i|--in-place", word) for word in words)
    reads = name in READERS or (name == "git" and len(words) > 1 and words[1] in GIT_READERS) or (name == "sed" and not edits)
    free = strict or (words[0] in FREE and not inline)
    verb = next((word for word in words[1:] if not word.startswith("-")), "")
    shell.acts.append(
        Act(
            "run",
            SEP.join(words),
            part,
            cwd=shell.cwd,
            strict=free,
            names=names,
            inline=inline,
            mutates=not reads,
            files=() if name in PASSIVE else _named(words) if files is None else files,
            reach=(f"./{ANY}",) if name in SWEEPS or (name == "git" and verb in GIT_SWEEPS) else (),
        )
    )


def _named(words: Words) -> Words:
    """Which words may name files: awk's separator, often a slash, does not."""
    awk = posixpath.basename(words[0]).endswith("awk")
    return tuple(word for at, word in enumerate(words) if at and not (awk and (word.startswith("-F") or words[at - 1] == "-F")))


def _opaque(shell: Script, part: str, why: str, text: str = "") -> None:
    shell.acts.append(Act("opaque", text, part, why=why, cwd=shell.cwd))


def _wrapper(shell: Script, words: Words, name: str, names: Words, stdin: Words, part: str) -> None:
    """The command behind the options of one that runs another."""
    own = name in PRIVILEGED
    options, skip = PRIVILEGED[name] if own else WRAPPERS[name]
    at, takes, set_here, there = 1, options.split(), list(names), ""
    _act(shell, words, names, part, strict=not own)
    while at < len(words):
        word = words[at]
        if name == "env" and (word.startswith(("-S", "--split-string", "-vS")) or word == "-"):
            if word == "-":
                at += 1
                continue
            return _opaque(shell, part, "env splits a text into a command")
        if word == "--":
            at += 1
            break
        if word.startswith("-") and len(word) > 1:
            if name in ("command",) and word in ("-v", "-V"):
                return
            if name == "env" and (word in ("-C", "--chdir") or word.startswith("--chdir=")):
                there = word[8:] if "=" in word else words[at + 1] if at + 1 < len(words) else ANY
            at += 2 if word in takes else 1
            continue
        if name in ("env", "sudo", "doas") and re.match(r"\w+=", word):
            set_here.append(word.split("=")[0])
            at += 1
            continue
        if not plain(word) and word.startswith(ANY):
            return _opaque(shell, part, "the command itself is not known before it runs", SEP.join(words))
        break
    at += skip
    rest = words[at:]
    if name == "ssh" and any(re.match(r"(-o)?(ProxyCommand|LocalCommand|KnownHostsCommand|Match|Include)", word) for word in words):
        return _opaque(shell, part, "ssh runs a command of its options")
    if name in ("xargs", "parallel"):
        if not rest:
            if name == "parallel":
                _opaque(shell, part, "parallel runs what it is given")
            return
        rest = (*(word.replace("{}", ANY) for word in rest), ANY)
        stdin = ()
    if (
        name in ("watch", "ssh", "parallel", "flock")
        and rest
        and (len(rest) == 1 or name in ("ssh", "watch", "parallel") or rest[0] == "-c")
    ):
        text = " ".join(rest[1:] if rest[0] == "-c" else rest)
        return shell.inner(text.rstrip(ANY + " ") if name == "parallel" else text, part)
    if not rest:
        return
    before, cwd = len(shell.acts), shell.cwd
    shell.cwd = inside(shell, there) if there else cwd
    run(shell, rest, tuple(set_here), stdin, part)
    shell.cwd = cwd if there else shell.cwd
    if own:
        shell.acts[before:] = [_strictly(act) for act in shell.acts[before:]]


def _runner(shell: Script, words: Words, by: list[str], stdin: Words, part: str) -> None:
    """The command that one of these runs may be denied; the permission is that of the runner."""
    rest = words[1:]
    if by:
        at = next((number for number, word in enumerate(rest) if word in by), len(rest))
        rest = rest[at + 1 :]
    if "--" in rest:
        rest = rest[rest.index("--") + 1 :]
    while rest and (rest[0].startswith("-") or re.match(r"\w+=", rest[0])):
        rest = rest[1:]
    before = len(shell.acts)
    if rest:
        run(shell, rest, (), stdin, part)
    shell.acts[before:] = [_strictly(act) for act in shell.acts[before:]]


def _just_written(shell: Script, path: str) -> bool:
    return path.removeprefix("./") in {made.removeprefix("./") for made in shell.written}


def _strictly(act: Act) -> Act:
    return act if act.kind != "run" else Act(**{**{f: getattr(act, f) for f in Act.__dataclass_fields__}, "strict": True})


def _shell(shell: Script, words: Words, name: str, names: Words, stdin: Words, part: str) -> None:
    """A shell: its `-c` text is read as a script; what it is given on its input too, when that is known."""
    at = 1
    _act(shell, words, names, part, strict=True)
    while at < len(words):
        word = words[at]
        if not plain(word) and word.startswith(ANY):
            return _opaque(shell, part, "it runs text that is not known before")
        if re.fullmatch(r"-[a-zA-Z]*c[a-zA-Z]*", word):
            rest = [one for one in words[at + 1 :] if not re.fullmatch(r"[-+][a-zA-Z]+", one)]
            return shell.inner(rest[0], part) if rest else None
        if word in ("--rcfile", "--init-file", "-O", "+O", "-o", "+o"):
            if "file" in word:
                return _opaque(shell, part, "it reads another file of commands first")
            at += 2
            continue
        if word in ("--version", "--help"):
            return None
        if word == "-s" or not word.startswith(("-", "+")):
            break
        at += 1
    if at < len(words) and words[at] != "-s" and not words[at].startswith("/dev/"):
        if _just_written(shell, words[at]) or not plain(words[at]):
            return _opaque(shell, part, "it runs a file that is written by the same call")
        return _act(shell, words, names, part)
    if stdin and plain(stdin[0]):
        return shell.inner(stdin[0], part)
    _opaque(shell, part, "it runs what it is given")


def _eval(shell: Script, words: Words, name: str, part: str) -> None:
    rest = words[1:]
    if rest[:1] == ("--",):
        rest = rest[1:]
    if name == "trap":
        if not rest or rest[0] in ("-", "", "-l", "-p"):
            return
        rest = rest[:1]
    text = " ".join(rest)
    if any(token in SPECIAL for token in text):
        return _opaque(shell, part, f"{name} runs text that is not known before")
    shell.inner(text, part)
    _opaque(shell, part, f"{name} runs text")


def _setters(shell: Script, words: Words, name: str) -> None:
    """Builtins that set variables."""
    if name in ("read", "mapfile", "readarray", "getopts") or (name == "printf" and "-v" in words):
        if name in ("mapfile", "readarray") and any(word.startswith(("-C", "-c")) for word in words):
            raise CannotRead("mapfile runs a command for each line")
        if not all(plain(word) for word in words[1:]):
            shell.variables = dict.fromkeys(shell.variables, ANY)
        for word in words[1:]:
            if re.fullmatch(r"\w+", word):
                shell.variables[word] = ANY
        if any(re.fullmatch(DANGEROUS, word) for word in words[1:]):
            raise CannotRead("a builtin sets a variable that changes what runs")
    if name == "set" and any(word.startswith("--") or not word.startswith(("-", "+")) for word in words[1:]):
        shell.variables.update({str(number): ANY for number in range(1, 10)})


def _find(shell: Script, words: Words, names: Words, part: str) -> None:
    """`-exec` runs a command, `-delete` removes, `-fprint` writes."""
    at, place = 0, found(words)
    below = tuple(root + place for root in roots(shell, words))
    while at < len(words):
        word = words[at]
        before = len(shell.acts)
        if word in ("-exec", "-execdir", "-ok", "-okdir"):
            end = next((n for n in range(at + 1, len(words)) if words[n] in (";", "+")), len(words))
            inner = tuple(place if "{}" in one else one for one in words[at + 1 : end])
            run(shell, inner, (), (), part)
            at = end
        elif word == "-delete":
            run(shell, ("rm", ANY), (), (), part)
        elif word.startswith(("-fprint", "-fls")) and at + 1 < len(words):
            shell.acts.append(Act("write", words[at + 1], part, cwd=shell.cwd))
        elif not plain(word) and word.startswith(ANY):
            _opaque(shell, part, "an option of find is not known before it runs")
        shell.acts[before:] = [replace(act, reach=(*act.reach, *below)) if act.mutates else act for act in shell.acts[before:]]
        at += 1
    _act(shell, words, names, part)


def _git(shell: Script, words: Words, names: Words, part: str) -> None:
    """Options of git that run programs; the command without harmless options is what rules speak of."""
    at, kept, cwd = 1, [words[0]], shell.cwd
    while at < len(words) and (words[at].startswith("-") or not plain(words[at])):
        word = words[at]
        if not plain(word):
            _opaque(shell, part, "an option of git is not known before it runs", SEP.join(words))
        if word == "-c" or word.startswith("--config-env"):
            value = words[at + 1] if at + 1 < len(words) else ""
            if not re.fullmatch(GIT_HARMLESS, value, re.I) or not plain(value):
                _opaque(shell, part, "git -c may run another program", SEP.join(words))
                alias = re.match(r"alias\.[^=]+=!(.*)", value, re.S)
                if alias:
                    shell.inner(alias[1], part)
            at += 2
        elif word in ("-C", "--git-dir", "--work-tree", "--namespace", "--super-prefix"):
            if word == "-C":
                shell.cwd = inside(shell, words[at + 1]) if at + 1 < len(words) else ANY
            at += 2
            if word != "-C":
                _opaque(shell, part, "git reads its settings from another place")
        else:
            if word.startswith(("--git-dir=", "--work-tree=", "--namespace=")):
                _opaque(shell, part, "git reads its settings from another place")
            if word.startswith("--exec-path="):
                _opaque(shell, part, "git runs programs from another place")
            kept += [] if word in ("--no-pager", "-P", "--no-optional-locks", "--literal-pathspecs") else [word]
            at += 1
    rest = words[at:]
    if any(_git_runs(one, rest[0]) for one in rest):
        _opaque(shell, part, "an option of git runs another program or writes a file", SEP.join(words))
    if rest[:2] in (("submodule", "foreach"), ("bisect", "run")):
        shell.inner(" ".join(word for word in rest[2:] if word != "--recursive"), part)
    if rest[:1] and rest[0] in ("filter-branch", "send-email", "daemon", "http-backend", "shell", "upload-pack"):
        _opaque(shell, part, f"git {rest[0]} runs programs")
    if rest[:1] == ("config",) and len(rest) > 2 and any(_CONFIG.match(one) for one in rest[1:]) and not _LOOKS & set(rest):
        _opaque(shell, part, "git config binds a program to a name")
    files = tuple(word for before, word in zip(("", *rest), rest, strict=False) if not _MESSAGE.fullmatch(before))
    _act(shell, (*kept, *rest), names, part, files=files)
    shell.cwd = cwd


def _git_runs(word: str, verb: str) -> bool:
    if word in ("-u", "-x", "-O"):
        return verb in ("clone", "rebase", "difftool", "grep", "fetch")
    long = any(option.startswith("--") and word.startswith(f"{option}=") for option in GIT_RUNS)
    return word in GIT_RUNS or long or "ext::" in word or (word.startswith("-O") and verb == "grep")


def _cd(shell: Script, words: Words) -> None:
    places = [word for word in words[1:] if not re.fullmatch(r"-[LPe@]+|--", word)]
    place = places[0] if places else shell.variables.get("HOME", ANY)
    if place == "-" or not plain(place) or "CDPATH" in shell.variables:
        shell.cwd = ANY
    elif place.startswith("/"):
        shell.cwd = place
    else:
        shell.cwd = f"{shell.cwd}/{place}"
    shell.variables["PWD"] = shell.variables["OLDPWD"] = ANY


def _inline(words: Words, base: str) -> int:
    """How many words name the program and the option by which it runs code given as an argument; 0 when it does not."""
    options = INLINE.get(base, "").split()
    for at, word in enumerate(words[1:], 1):
        for option in options:
            short = len(option) == 2 and option[0] == "-" and option[1].isalpha()
            if (
                word == option
                or word.startswith(f"{option}=")
                or (short and re.match(rf"-[A-Za-z0-9]*{option[1]}", word) and not word.startswith("--"))
            ):
                return at + 1
            if option.startswith("--") and "=" not in word and len(word) > 4 and option.startswith(word):
                return at + 1
        if not plain(word) and word.startswith(ANY) and options and base in _EARLY:
            return at + 1
        if base in (*_EARLY, "npx") and not word.startswith("-"):
            return 0
    return 0


def _told(words: Words, base: str) -> int:
    """The same for programs whose code runs others only where that stands in it."""
    if base == "sed":
        return sed(words)
    telling = TELLING.get(base)
    if telling is None:
        return 0
    return next((at + 1 for at, word in enumerate(words[1:], 1) if re.search(telling, word) or (not plain(word) and at == 1)), 0)
