"""Redirects and here-documents: which files a command writes and reads, and what text it is given."""

from __future__ import annotations

import re
from abc import abstractmethod
from dataclasses import dataclass, field

from tree_sitter import Node

from reconciler.core.governance.permissions.acts import Act, CannotRead
from reconciler.core.governance.permissions.patterns import ANY
from reconciler.core.governance.permissions.words import COMMANDS, WORDS, Words, words_of


@dataclass
class Redirects(Words):
    """`cwd`: where the script stands, a path that may be unknown in part; `given`: the text that
    commands are given who are given no other; `written`: files that it has written so far."""

    cwd: str
    given: tuple[str, ...] = ()
    read_from: tuple[str, ...] = ()
    acts: list[Act] = field(default_factory=list)
    written: set[str] = field(default_factory=set)

    @abstractmethod
    def _statement(self, node: Node) -> None: ...

    @abstractmethod
    def _command(self, node: Node, extra: tuple[str, ...], stdin: tuple[str, ...]) -> None: ...

    def _redirected(self, node: Node, stdin: tuple[str, ...] = ()) -> None:
        body = node.child_by_field_name("body")
        if body is not None and body.type in ("list", "pipeline"):  # then it belongs to the last command of these
            before = self.given
            self.given = (ANY,)
            self._statement(body)
            self.given = before
        extra: list[str] = []
        for child in node.children:
            if child.type == "file_redirect":
                extra += self._file_redirect(child)
                stdin = self.read_from or stdin
            elif child.type == "heredoc_redirect":
                stdin = (self._heredoc(child),)
            elif child.type == "herestring_redirect":
                stdin = tuple(self.words(words_of(child)))
        if body is not None and body.type == "command":
            return self._command(body, tuple(extra), stdin)
        if extra:
            raise CannotRead("words follow a redirect")
        if body is not None and body.type in COMMANDS and body.type not in ("list", "pipeline"):
            before = self.given
            self.given = stdin or before
            self._statement(body)
            self.given = before

    def _file_redirect(self, node: Node) -> list[str]:
        """Words that stand behind the target and belong to the command. `read_from` tells whether it reads."""
        targets = self.words(words_of(node))
        self.read_from = self._redirect(node, targets[:1])
        return targets[1:]

    def _redirect(self, node: Node, targets: list[str]) -> tuple[str, ...]:
        """Notes a file that is written or read. What comes from a file is text that is not known: it is returned."""
        sign = next((c.type for c in node.children if not c.is_named), "")
        if not targets:
            if sign in (">&-", "<&-"):
                return ()
            raise CannotRead("a redirect has no target")
        target = targets[0]
        if sign in (">&", "<&") and re.fullmatch(r"\d+-?|-", target):
            return ()
        if target.startswith(("/dev/tcp/", "/dev/udp/")) or (ANY in target and sign in ("<&",)):
            raise CannotRead("it opens a connection")
        reads = sign in ("<", "<&")
        if target not in ("/dev/null", "/dev/stdout", "/dev/stderr", "/dev/stdin", "/dev/zero", "/dev/tty"):
            self.acts.append(Act("read" if reads else "write", target, self.text(node), cwd=self.cwd))
            if sign == "<>":
                self.acts.append(Act("read", target, self.text(node), cwd=self.cwd))
        if not reads:
            self.written.add(target)
        return (ANY,) if reads or sign == "<>" else ()

    def _heredoc(self, node: Node) -> str:
        """The text of a here-document, as far as it is known."""
        start = next((c for c in node.children if c.type == "heredoc_start"), None)
        body = next((c for c in node.children if c.type == "heredoc_body"), None)
        end = next((c for c in node.children if c.type == "heredoc_end"), None)
        if start is None or end is None:
            raise CannotRead("a here-document has no end")
        told = self._heredoc_text(node, start, body, end)
        for child in node.children:  # the grammar hangs what follows on the line below it
            if child.type == "file_redirect":
                if self._file_redirect(child):
                    raise CannotRead("words follow a redirect")
            elif child.type == "pipeline":
                for stage in (c for c in child.children if c.is_named):
                    self._command(stage, (), (ANY,)) if stage.type == "command" else self._statement(stage)
            elif child.type in COMMANDS:
                self._statement(child)
            elif child.type in WORDS:
                raise CannotRead("words follow a here-document")
        return told

    def _heredoc_text(self, node: Node, start: Node, body: Node | None, end: Node) -> str:
        word = self.text(start)
        quoted = re.fullmatch(r"""'([^'\\]+)'|"([^"\\$`]+)"|\\?([\w.+-]+)""", word)
        if quoted is None:
            raise CannotRead("it is not clear where a here-document ends")
        mark = next(part for part in quoted.groups() if part)
        raw = self.text(body) if body is not None else ""
        tabs = "<<-" in self.text(node)[:3]
        lines = [line.lstrip("\t") if tabs else line for line in raw.split("\n")]
        if mark in lines or self.text(end).lstrip("\t") != mark:
            raise CannotRead("it is not clear where a here-document ends")
        if quoted[3] is None or word.startswith("\\"):
            return "\n".join(lines)
        if "`" in raw:
            raise CannotRead("a here-document has back quotes in it")
        if body is not None:
            self._inside(body)
        return raw if not re.search(r"[$`\\]", raw) else ANY
