"""The words of a script: what each becomes once bash has read its quotes, variables and globs, as far as that is known."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

from tree_sitter import Node

from reconciler.core.governance.permissions.acts import CannotRead
from reconciler.core.governance.permissions.patterns import ANY
from reconciler.core.governance.permissions.quoting import ansi_c, in_double_quotes, unquoted

_SIMPLE: Final = re.compile(r"[A-Za-z0-9_./:@%+=,\-]*")
WORDS: Final = frozenset(
    [
        "word",
        "number",
        "string",
        "raw_string",
        "ansi_c_string",
        "translated_string",
        "concatenation",
        "simple_expansion",
        "expansion",
        "command_substitution",
        "process_substitution",
        "arithmetic_expansion",
        "brace_expression",
        "extglob_pattern",
        "regex",
    ]
)
BLOCKS: Final = frozenset(
    [
        "program",
        "list",
        "pipeline",
        "negated_command",
        "if_statement",
        "elif_clause",
        "else_clause",
        "while_statement",
        "do_group",
        "case_item",
        "subshell",
        "compound_statement",
        "redirected_statement",
    ]
)
COMMANDS: Final = BLOCKS | frozenset(
    [
        "command",
        "for_statement",
        "c_style_for_statement",
        "case_statement",
        "function_definition",
        "test_command",
        "declaration_command",
        "unset_command",
        "variable_assignment",
        "variable_assignments",
    ]
)


_BRACES: Final = re.compile(r"([\w./@%+:=~-]*)\{([\w./@%+:=~-]*(?:,[\w./@%+:=~-]*)+)\}([\w./@%+:=~-]*)")


def words_of(node: Node) -> list[Node]:
    return [child for child in node.children if child.type in WORDS]


@dataclass
class Words(ABC):
    """`variables`: what is known of them."""

    source: str
    variables: dict[str, str]

    def __post_init__(self) -> None:
        self.bytes = self.source.encode(errors="replace")

    def text(self, node: Node) -> str:
        return self.bytes[node.start_byte : node.end_byte].decode()

    @abstractmethod
    def _inside(self, node: Node) -> None: ...

    @abstractmethod
    def _substitution(self, node: Node) -> None: ...

    def word(self, node: Node) -> str:
        """What a word becomes, with `ANY` for what is not known; substitutions in it are read as commands."""
        kind, text = node.type, self.text(node)
        if kind == "regex":
            return ANY
        if kind in ("word", "number", "extglob_pattern", "brace_expression"):
            self._inside(node)
            return unquoted(text, self.variables.get("HOME", ANY)) if kind in ("word", "number") else ANY
        if kind == "raw_string":
            return text[1:-1]
        if kind == "ansi_c_string":
            return ansi_c(text[2:-1])
        if kind == "translated_string":
            return self._string(next(c for c in node.children if c.type == "string"))
        if kind == "string":
            return self._string(node)
        if kind == "concatenation":
            return self._joined(node)
        if kind in ("simple_expansion", "expansion"):
            return self._variable(node, quoted=False)
        if kind in ("command_substitution", "process_substitution"):
            self._substitution(node)
            return ANY if kind == "command_substitution" else "/dev/fd/63"
        if kind == "arithmetic_expansion":
            self._inside(node)
            return ANY
        raise CannotRead(f"it has a {kind.replace('_', ' ')} in it")

    def words(self, nodes: list[Node]) -> list[str]:
        """What these become, one after the other: without a blank between them they are one word, and simple braces are several."""
        made: list[str] = []
        end = -1
        for node in nodes:
            braces = _BRACES.fullmatch(self.text(node))
            if node.start_byte == end and made:
                made[-1] += self.word(node)
            elif braces and made:
                made += [unquoted(braces[1] + one + braces[3], self.variables.get("HOME", ANY)) for one in braces[2].split(",")]
            else:
                made.append(self.word(node))
            end = node.end_byte
        return made

    def _joined(self, node: Node) -> str:
        parts, at, raw = [], node.start_byte, False
        for child in node.children:
            if child.start_byte != at:
                raise CannotRead("a word can't be parsed whole")
            at = child.end_byte
            if not child.is_named and child.type not in ("$", "`"):
                raw = True
                parts.append(self.text(child))
            elif child.is_named:
                parts.append(self.word(child))
        if all(child.type in ("word", "number") for child in node.children):
            return unquoted(self.text(node), self.variables.get("HOME", ANY))
        outer, made = "".join(self.text(c) for c in node.children if c.type == "word" or not c.is_named), "".join(parts)
        if "[" in outer or ("{" in outer and ("," in outer or ".." in outer)):
            return made[: max(min(made.find(sign) % (len(made) + 1) for sign in "[{"), 0)] + ANY
        return ANY if raw else made

    def _string(self, node: Node) -> str:
        parts, at = [], node.start_byte + 1
        for child in node.children[1:-1]:
            parts.append(in_double_quotes(self.bytes[at : child.start_byte].decode()))
            if child.type == "string_content":
                parts.append(in_double_quotes(self.text(child)))
            elif child.type in ("simple_expansion", "expansion"):
                parts.append(self._variable(child, quoted=True))
            elif child.type in ("command_substitution", "arithmetic_expansion", "process_substitution"):
                parts.append(self.word(child))
            elif child.is_named:
                raise CannotRead(f"a string has a {child.type.replace('_', ' ')} in it")
            else:
                parts.append(in_double_quotes(self.text(child)))
            at = child.end_byte
        parts.append(in_double_quotes(self.bytes[at : node.end_byte - 1].decode()))
        return "".join(parts)

    def _variable(self, node: Node, quoted: bool) -> str:
        text = self.text(node)
        simple = re.fullmatch(r"\$(\w+)|\$\{(\w+)\}", text)
        if simple is None:
            if re.search(r"@[PAEaKkQUuL]\}$", text):
                raise CannotRead("a variable is read as a prompt or as code")
            if any(child.type == "regex" and re.search(r"[$`]", self.text(child)) for child in node.children):
                raise CannotRead("a pattern in a variable is not known")
            assigned = re.match(r"\$\{(\w+):?=", text)
            if assigned:
                self.variables[assigned[1]] = ANY
            self._inside(node)
            return ANY
        held = self.variables.get(simple[1] or simple[2], ANY)
        if quoted or _SIMPLE.fullmatch(held):
            return held
        return ANY
