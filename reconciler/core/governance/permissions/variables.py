"""Variables and settings by name, as patterns: which change what runs, and which change nothing that a rule is about."""

from __future__ import annotations

from typing import Final

# Settings of git that run nothing.
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
