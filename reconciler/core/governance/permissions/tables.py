"""What is known of programs: who runs another one, who runs text, who only reads. `make generate` writes the same for the keeper."""

from __future__ import annotations

import json
from typing import Final

# Programs that run the command that follows their own options: options that take a value, and plain arguments before the command.
WRAPPERS: Final[dict[str, tuple[str, int]]] = {
    "timeout": ("-s -k --signal --kill-after", 1),
    "time": ("-o -f --output --format", 0),
    "nice": ("-n --adjustment", 0),
    "nohup": ("", 0),
    "setsid": ("", 0),
    "stdbuf": ("-i -o -e --input --output --error", 0),
    "command": ("", 0),
    "builtin": ("", 0),
    "exec": ("-a", 0),
    "ionice": ("-c -n -t --class --classdata", 0),
    "taskset": ("", 1),
    "chrt": ("", 1),
    "env": ("-u -C -S --unset --chdir --split-string", 0),
    "xargs": ("-a -d -E -I -i -L -l -n -P -s --arg-file --delimiter --max-args --max-procs --max-lines --replace --max-chars", 0),
    "parallel": ("-j --jobs -I --colsep --delay --timeout -n -N -a", 0),
    "busybox": ("", 0),
    "toybox": ("", 0),
    "coproc": ("", 0),
    "strace": ("-o -e -p -s -u -E", 0),
    "ltrace": ("-o -e -p -s -u", 0),
    "valgrind": ("", 0),
    "setarch": ("", 1),
    "linux64": ("", 0),
    "linux32": ("", 0),
    "caffeinate": ("-t -w", 0),
    "unbuffer": ("", 0),
    "proot": ("-b -w -r -S", 0),
    "fakeroot": ("-l -s -i", 0),
    "watch": ("-n --interval", 0),
    "flock": ("-w -E --timeout --conflict-exit-code", 1),
    "dbus-run-session": ("", 0),
    "catchsegv": ("", 0),
    "eatmydata": ("", 0),
    "-": ("", 0),
    "noglob": ("", 0),
    "nocorrect": ("", 0),
}
# The same, and they need a permission of their own: they run it with other rights, in another place or as somebody else.
PRIVILEGED: Final[dict[str, tuple[str, int]]] = {
    "sudo": ("-u -g -h -p -C -T -U -r -t -D -R --user --group --host --prompt --chdir --chroot", 0),
    "doas": ("-u -C", 0),
    "chroot": ("--userspec --groups", 1),
    "unshare": ("--map-user --map-group -S -G --setuid --setgid --root --wd", 0),
    "nsenter": ("-t --target -S -G", 0),
    "systemd-run": ("-p -u --unit --property", 0),
    "setpriv": ("--reuid --regid --groups", 0),
    "capsh": ("", 0),
    "bwrap": ("", 0),
    "gosu": ("", 1),
    "runuser": ("-u -g -G", 0),
    "runcon": ("", 1),
    "firejail": ("", 0),
    "ssh": ("-o -i -p -l -F -J -L -R -D -b -c -E -I -m -O -Q -S -W -w", 1),
}
SHELLS: Final = frozenset(["sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "rbash", "fish", "csh", "tcsh", "yash"])
# Programs that run code given as an argument, by the options that give it.
INLINE: Final[dict[str, str]] = {
    "python": "-c", "python2": "-c", "python3": "-c", "pypy": "-c", "pypy3": "-c", "ipython": "-c",
    "node": "-e --eval -p --print -pe -r --require --import", "nodejs": "-e --eval -p --print -pe -r --require --import",
    "bun": "-e --eval -p --print", "deno": "eval", "tsx": "-e --eval -p --print", "ts-node": "-e --eval -p --print",
    "perl": "-e -E", "ruby": "-e", "php": "-r -B -R -E", "lua": "-e", "luajit": "-e", "tclsh": "-c", "expect": "-c", "osascript": "-e",
    "Rscript": "-e", "R": "-e", "julia": "-e -E", "ghc": "-e", "scala": "-e", "groovy": "-e", "elixir": "-e", "erl": "-eval", "guile": "-c",
    "vim": "-c --cmd -S", "vi": "-c --cmd -S", "nvim": "-c --cmd -S", "ex": "-c", "emacs": "--eval -eval -f -l", "gdb": "-ex -x -ix -iex",
    "lldb": "-o -O -s", "su": "-c --command -s --session-command", "script": "-c --command", "npx": "-c --call", "make": "--eval -f- SHELL",
    "gmake": "--eval SHELL", "tar": "--to-command --checkpoint-action -I --use-compress-program -F --info-script --rsh-command",
    "rsync": "-e --rsh --rsync-path", "split": "--filter", "sort": "--compress-program", "man": "-P --pager -H --html",
    "zip": "-TT --unzip-command", "scp": "-S -o", "sftp": "-S -o", "nc": "-e -c", "ncat": "-e -c --exec --sh-exec", "openssl": "-engine",
    "nmap": "--script", "tcpdump": "-z", "logrotate": "-s", "dmesg": "-P", "lftp": "-c -e", "sqlite3": "-cmd",
    "mysql": "-e", "psql": "-c", "watchexec": "-s", "entr": "-s", "start-stop-daemon": "--exec -x -a", "dpkg": "--pre-invoke --post-invoke",
    "apt": "-o", "apt-get": "-o", "wget": "--use-askpass --use-server-timestamps-command", "pip": "--editor",
}  # fmt: skip
# Code in their arguments that may run others only where this stands in it.
_AWK: Final = r"system|(^|[^|])\|([^|]|$)|getline|printf?[^;}]*>|@load|@include|^-f|^--file|^-i|^--include"
TELLING: Final[dict[str, str]] = {
    "awk": _AWK,
    "gawk": _AWK,
    "mawk": _AWK,
    "nawk": _AWK,
    "original-awk": _AWK,
    "sqlite3": r"\.(shell|system|output|once|read|load|import)|writefile|edit\(|load_extension",
    "psql": r"\\!|\\o|\\g|\\i|[Pp][Rr][Oo][Gg][Rr][Aa][Mm]",
    "mysql": r"\\!|system|source|tee",
    "socat": r"[Ee][Xx][Ee][Cc]|[Ss][Yy][Ss][Tt][Ee][Mm]|[Ss][Hh][Ee][Ll][Ll]",
    "sed": r"",
}
# Programs that run what they are given when they are named alone.
GIVEN: Final = frozenset(
    [
        "python",
        "python2",
        "python3",
        "pypy",
        "pypy3",
        "ipython",
        "node",
        "nodejs",
        "bun",
        "deno",
        "perl",
        "ruby",
        "php",
        "lua",
        "luajit",
        "tclsh",
        "R",
        "Rscript",
        "julia",
        "gdb",
        "sqlite3",
        "psql",
        "mysql",
        "ed",
        "ex",
        "vim",
        "vi",
        "emacs",
        "ghci",
        "irb",
        "bc",
        "dc",
        "ftp",
        "sftp",
        "lftp",
        "gnuplot",
        "octave",
        "scheme",
        "guile",
        "racket",
        "sbcl",
        "erl",
        "iex",
        "scala",
        "groovy",
        "jshell",
        "su",
        "sudo",
        "ssh",
        "crontab",
        "at",
        "batch",
    ]
)
# Builtins and programs that run or bind text in a way that is not followed.
RUNS_TEXT: Final = frozenset(
    [
        "eval",
        "alias",
        "enable",
        "bind",
        "complete",
        "compopt",
        "fc",
        "at",
        "batch",
        "atrun",
        ".",
        "source",
        "trap",
        "hash",
        "crontab",
        "ed",
        "red",
        "debugfs",
        "dc",
        "readline",
        "history",
        "PROMPT_COMMAND",
        "expect",
        "tclsh",
        "screen",
        "tmux",
        "dtach",
        "abduco",
        "mkfifo",
        "ld.so",
        "parallel-ssh",
        "pssh",
        "pdsh",
        "nq",
        "telnet",
        "rlogin",
        "rsh",
    ]
)
GIT_RUNS: Final = frozenset(
    [
        "--exec",
        "-x",
        "--upload-pack",
        "--receive-pack",
        "-u",
        "--extcmd",
        "--open-files-in-pager",
        "-O",
        "--tool",
        "--exec-path",
        "--config-env",
    ]
)
GIT_HARMLESS: Final = (
    r"(user\.(name|email)|color\..*|core\.(quotepath|autocrlf|filemode|abbrev)|advice\..*|init\.defaultbranch"
    r"|safe\.directory|commit\.gpgsign|tag\.gpgsign|log\..*|diff\.(renames|algorithm|context)|push\.default|pull\.(rebase|ff)|merge\.(ff|conflictstyle)|fetch\.prune|http\.(version|postbuffer)|gc\.auto)=.*"
)
# Variables that change what a command runs.
DANGEROUS: Final = (
    r"PATH|IFS|ENV|BASH_.*|SHELLOPTS|BASHOPTS|PS[0-4]|PROMPT_COMMAND|LD_.*|DYLD_.*|GIT_.*|.*PAGER|.*EDITOR|VISUAL|BROWSER|SHELL"
    r"|PYTHON.*|NODE_OPTIONS|NODE_PATH"
    r"|PERL.*|RUBY.*|LUA_.*|JAVA_TOOL_OPTIONS|_JAVA_OPTIONS|MAVEN_OPTS|LESS.*|MANPAGER|GCONV_PATH|HOSTALIASES|SSH_ASKPASS|SUDO_ASKPASS|RSYNC_RSH|CDPATH|GLOBIGNORE"
    r"|TAR_OPTIONS|MAKEFLAGS|CC|CXX|RUSTC.*|CARGO_.*RUNNER|npm_config_.*|NPM_CONFIG_.*|EXINIT|VIMINIT|GDBINIT|INPUTRC|PI_.*|HOME|PWD|OLDPWD|FPATH|ZDOTDIR"
)
# Variables that an allow may stand behind.
HARMLESS: Final = (
    r"CI|NODE_ENV|LANG|LC_.*|TZ|DEBUG|VERBOSE|FORCE_COLOR|NO_COLOR|CLICOLOR.*|TERM|COLUMNS|RUST_LOG|RUST_BACKTRACE|PORT|HOST|LOG_LEVEL|PYTHONUNBUFFERED|"
    r"PYTHONDONTWRITEBYTECODE|PYTHONHASHSEED|GOOS|GOARCH|CGO_ENABLED|DJANGO_SETTINGS_MODULE|FLASK_ENV|RAILS_ENV|RACK_ENV|APP_ENV|TEST_.*|HUSKY|DOTNET_CLI_.*|ENVIRONMENT"
)
# Builtins that do nothing outside of their shell: no default is asked about them.
FREE: Final = frozenset(
    [
        "cd",
        "true",
        "false",
        ":",
        "exit",
        "return",
        "break",
        "continue",
        "shift",
        "wait",
        "[",
        "test",
        "[[",
        "pushd",
        "popd",
        "set",
        "shopt",
        "umask",
        "times",
        "getopts",
        "ulimit",
        "read",
        "mapfile",
        "readarray",
    ]
)
# Their words name nothing that they open.
PASSIVE: Final = frozenset(
    [
        "echo",
        "printf",
        "true",
        "false",
        ":",
        "exit",
        "return",
        "break",
        "continue",
        "shift",
        "wait",
        "sleep",
        "seq",
        "date",
        "kill",
        "basename",
        "dirname",
        "set",
        "export",
        "which",
        "type",
    ]
)
# They read files and change none.
READERS: Final = frozenset(
    [
        "cat",
        "head",
        "tail",
        "less",
        "more",
        "grep",
        "egrep",
        "fgrep",
        "rg",
        "ag",
        "ls",
        "tree",
        "wc",
        "diff",
        "cmp",
        "comm",
        "stat",
        "file",
        "sort",
        "uniq",
        "cut",
        "tr",
        "nl",
        "od",
        "xxd",
        "hexdump",
        "strings",
        "du",
        "df",
        "find",
        "fd",
        "test",
        "[",
        "[[",
        "cd",
        "pushd",
        "md5sum",
        "sha1sum",
        "sha256sum",
        "sha512sum",
        "readlink",
        "realpath",
        "jq",
        "yq",
        "bat",
        "column",
        "paste",
        "join",
        "fold",
        "fmt",
        "rev",
        "tac",
        "zcat",
        "zless",
        "zgrep",
        "ps",
        "env",
        "source",
        ".",
        "node",
        "python",
        "python3",
        "printenv",
        "id",
        "whoami",
        "pwd",
        "which",
        "type",
        "man",
        "npm",
        "npx",
    ]
)
GIT_READERS: Final = frozenset(
    [
        "status",
        "diff",
        "log",
        "show",
        "blame",
        "ls-files",
        "ls-tree",
        "grep",
        "rev-parse",
        "cat-file",
        "shortlog",
        "describe",
        "branch",
        "remote",
        "config",
        "reflog",
    ]
)

TABLES: Final = {
    "WRAPPERS": {name: [options.split(), skip] for name, (options, skip) in WRAPPERS.items()},
    "PRIVILEGED": {name: [options.split(), skip] for name, (options, skip) in PRIVILEGED.items()},
    "INLINE": {name: options.split() for name, options in INLINE.items()},
    "TELLING": TELLING,
    "GIVEN": sorted(GIVEN),
    "SHELLS": sorted(SHELLS),
    "RUNS_TEXT": sorted(RUNS_TEXT),
    "GIT_RUNS": sorted(GIT_RUNS),
    "GIT_READERS": sorted(GIT_READERS),
    "FREE": sorted(FREE),
    "PASSIVE": sorted(PASSIVE),
    "READERS": sorted(READERS),
    "GIT_HARMLESS": GIT_HARMLESS,
    "DANGEROUS": DANGEROUS,
    "HARMLESS": HARMLESS,
}


def module() -> str:
    """The tables as the keeper's module."""
    entries = "".join(f"  {name}: {json.dumps(value, ensure_ascii=False)},\n" for name, value in TABLES.items())
    return f"// Written by `make generate` from core/governance/permissions/tables.py.\nexport const TABLES = {{\n{entries}}};\n"
