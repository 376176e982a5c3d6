"""What a bash command would do: every simple command in it, wherever it hides, and every file that it redirects to or from.

The command is parsed (tree-sitter's grammar of bash), never matched as text. What is not understood for certain is `opaque`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from tree_sitter import Node

from reconciler.core.governance.permissions import programs
from reconciler.core.governance.permissions.acts import Act, CannotRead
from reconciler.core.governance.permissions.grammar import parse
from reconciler.core.governance.permissions.patterns import ANY, SPECIAL, plain
from reconciler.core.governance.permissions.redirects import Redirects
from reconciler.core.governance.permissions.variables import DANGEROUS
from reconciler.core.governance.permissions.words import BLOCKS, COMMANDS, WORDS, words_of

LONGEST: Final = 10_000
DEEPEST: Final = 40
_STRANGE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f\x85\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ue000-\uf8ff]")
_COUNTED: Final = re.compile(r"\[[^\]]*(\$\(|`)")
_GAP: Final = re.compile(r"(\s|\\\n)*")
_CLOSED_KINDS: Final = frozenset(
    [
        "string",
        "raw_string",
        "ansi_c_string",
        "word",
        "heredoc_body",
        "expansion",
        "arithmetic_expansion",
        "regex",
        "extglob_pattern",
        "comment",
        "test_command",
        "simple_expansion",
        "concatenation",
        "heredoc_redirect",
        "string_content",
    ]
)
_NESTED: Final = frozenset(["if_statement", "while_statement", "case_item", "subshell", "compound_statement", "elif_clause", "else_clause"])


@dataclass
class Shell(Redirects):
    """Reads one script. `cwd`: where it stands."""

    depth: int = 0
    functions: set[str] = field(default_factory=set)

    # --- the script ----------------------------------------------------------------------------------------------------------

    def read(self) -> list[Act]:
        """All that it would do. Never raises: what can't be read is an opaque act."""
        try:
            self._script()
        except (CannotRead, RecursionError) as error:
            why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
            self.acts.append(Act("opaque", "", self.source[:200], why=why))
        return self.acts

    def _script(self) -> None:
        if len(self.source) > LONGEST:
            raise CannotRead(f"it is longer than {LONGEST} characters")
        if self.depth > DEEPEST:
            raise CannotRead("it is nested too deeply")
        if _STRANGE.search(self.source):
            raise CannotRead("it has characters in it that are read in more than one way")
        if re.search(r"[^\s\\]\\\n[^\s]", self.source):
            raise CannotRead("a line is continued within a word")
        if re.search(
            r"(?<![\w.$-])(?:\(\(|\$\(\(|\$\[|let |declare|typeset|local|test|\[|printf|unset|read)", self.source
        ) and _COUNTED.search(self.source):
            raise CannotRead("an index has a command in it")
        root = parse(self.bytes)
        self._sound(root, 0)
        self._block(root)

    def _sound(self, node: Node, depth: int) -> None:
        """The tree has no error and leaves nothing of the text out."""
        if node.type == "ERROR" or node.is_missing or depth > 200:
            raise CannotRead("it can't be parsed")
        if node.type == "comment":
            before = self.bytes[: node.start_byte].decode()[-1:]
            if "\n" in self.text(node) or (before and before not in " \t\n;&|()"):
                raise CannotRead("it is not clear where a comment begins")
        if node.type not in _CLOSED_KINDS and node.children:
            at = node.start_byte
            for child in node.children:
                if not _GAP.fullmatch(self.bytes[at : child.start_byte].decode()):
                    raise CannotRead("it can't be parsed whole")
                at = child.end_byte
        for child in node.children:
            self._sound(child, depth + 1)

    def _block(self, node: Node) -> None:
        """Statements in their order."""
        if node.type in _NESTED:
            return self._apart(node)
        self._children(node)

    def _children(self, node: Node, skip: int = 0) -> None:
        for child in node.children[skip:]:
            if child.is_named and child.type != "comment":
                self._statement(child)

    def _apart(self, node: Node, skip: int = 0) -> None:
        """What may run, or runs in a shell of its own: what it assigns is not known afterwards."""
        cwd = self.cwd
        with self._unsure():
            self._children(node, skip)
        if self.cwd != cwd:
            self.cwd = cwd if node.type in ("subshell", "command_substitution", "process_substitution") else ANY

    @contextmanager
    def _unsure(self) -> Iterator[None]:
        """What is assigned meanwhile may hold afterwards or not."""
        before = dict(self.variables)
        yield
        changed = {name for name in {*before, *self.variables} if before.get(name) != self.variables.get(name)}
        self.variables = {**before, **dict.fromkeys(changed, ANY)}

    def _statement(self, node: Node) -> None:
        kind = node.type
        if kind == "command":
            return self._command(node, (), ())
        if kind == "redirected_statement":
            return self._redirected(node)
        if kind == "pipeline":
            return self._pipeline(node)
        if kind == "list":
            return self._list(node)
        if kind in ("for_statement",):
            return self._for(node)
        if kind == "function_definition":
            name = node.child_by_field_name("name")
            self.functions.add(self.text(name) if name else "")
            body = node.child_by_field_name("body")
            if body is None:
                raise CannotRead("a function has no body")
            return self._apart(node, skip=node.children.index(body))
        if kind in ("variable_assignment", "variable_assignments"):
            for one in [node] if kind == "variable_assignment" else [c for c in node.children if c.is_named]:
                self._assign(one)
            return None
        if kind == "declaration_command":
            return self._declare(node)
        if kind in ("test_command", "unset_command"):
            return self._inside(node)
        if kind == "c_style_for_statement":
            for child in node.children:
                if child.type in ("do_group", "compound_statement"):
                    self._apart(child)
                elif child.is_named:
                    self._inside(child)
            return None
        if kind == "case_statement":
            for child in node.children:
                if child.type == "case_item":
                    self._branch(child)
                elif child.is_named:
                    self.word(child)
            return None
        if kind in BLOCKS:
            if kind == "compound_statement" and self.text(node).startswith("(("):
                return self._inside(node)
            return self._block(node)
        raise CannotRead(f"it has a {kind.replace('_', ' ')} in it")

    def _branch(self, node: Node) -> None:
        with self._unsure():
            for child in node.children:
                if child.type in COMMANDS:
                    self._statement(child)
                elif child.type in WORDS:
                    self.word(child)

    def _list(self, node: Node) -> None:
        """`a && b`: the first one always runs; a later one knows what the earlier ones assigned."""
        self._statement(node.children[0])
        sure = all(child.type == "&&" for child in node.children if not child.is_named)
        cwd = self.cwd
        with self._unsure():
            self._children(node, 1)
        if self.cwd != cwd and not sure:
            self.cwd = ANY

    def _pipeline(self, node: Node) -> None:
        stages = [child for child in node.children if child.is_named and child.type != "comment"]
        for number, stage in enumerate(stages):
            cwd, given = self.cwd, self.given
            self.given = (ANY,) if number else given
            with self._unsure():
                self._statement(stage)
            self.cwd, self.given = cwd, given

    def _for(self, node: Node) -> None:
        """A loop over known words is read once for each of them, and once more for what its body assigned."""
        name, body = node.child_by_field_name("variable"), node.child_by_field_name("body")
        if name is None or body is None:
            raise CannotRead("a loop has no body")
        values = self.words([child for child in node.children if child.type in WORDS])
        if len(values) > 8 or not values or self.text(node).startswith("select"):
            values = [ANY]
        for value in [*values, None]:
            if value is not None:
                self.variables[self.text(name)] = value
            self._apart(body)
        self.variables[self.text(name)] = ANY

    # --- assignments ---------------------------------------------------------------------------------------------------------

    def _assign(self, node: Node, alone: bool = True) -> str:
        """The name; what it is set to is remembered where it stands `alone`."""
        name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        if name is None:
            raise CannotRead("an assignment has no name")
        if name.type == "subscript":
            self._inside(name)
        variable = re.match(r"\w+", self.text(name))
        known = variable[0] if variable else ""
        if value is not None and value.type == "array":
            for child in value.children:
                if child.is_named:
                    self.word(child) if child.type in WORDS else self._inside(child)
            held = ANY
        else:
            held = self.word(value) if value is not None else ""
        if "+=" in self.text(node)[: len(self.text(name)) + 2] or name.type == "subscript":
            held = ANY
        if alone:
            self.variables[known] = held
            if re.fullmatch(DANGEROUS, known):
                raise CannotRead(f"it sets {known}, which changes what runs")
        return known

    def _declare(self, node: Node) -> None:
        for child in node.children:
            if child.type == "variable_assignment":
                self._assign(child)
            elif child.type in WORDS:
                told = self.word(child)
                if not plain(told) or re.match(r"-\w*[niA]", told) or "=" in told:
                    raise CannotRead("a declaration is not known before it runs")
            elif child.type == "variable_name":
                self.variables[self.text(child)] = ANY

    def _inside(self, node: Node) -> None:
        """Commands within something that is not a command itself."""
        for child in node.children:
            if child.type in ("command_substitution", "process_substitution"):
                self._substitution(child)
            elif child.type == "variable_name" and node.type != "simple_expansion":
                self.variables[self.text(child)] = ANY
            elif child.type in COMMANDS and child.type not in ("test_command",):
                self._statement(child)
            else:
                self._inside(child)

    def _substitution(self, node: Node) -> None:
        if node.children and node.children[0].type == "`" and "\\" in self.text(node):
            raise CannotRead("a substitution in back quotes has a backslash in it")
        self._apart(node)

    # --- simple commands -------------------------------------------------------------------------------------------------------

    def _command(self, node: Node, extra: tuple[str, ...], stdin: tuple[str, ...]) -> None:
        names: list[str] = []
        parts: list[Node] = []
        for child in node.children:
            if child.type == "variable_assignment":
                names.append(self._assign(child, alone=False))
                if child.next_sibling is not None and child.next_sibling.start_byte == child.end_byte:
                    raise CannotRead("it is not clear where an assignment ends")
            elif child.type == "command_name" or child.type in WORDS:
                parts.append(child.children[0] if child.type == "command_name" else child)
            elif child.type == "herestring_redirect":
                stdin = tuple(self.words(words_of(child)))
            elif child.type == "file_redirect":
                extra = (*extra, *self._file_redirect(child))
                stdin = self.read_from or stdin
            elif child.type == "heredoc_redirect":
                stdin = (self._heredoc(child),)
            elif child.type == "subshell":
                raise CannotRead("a command is followed by a bracket")
            elif child.type == "$":  # of $"…"
                if parts and parts[-1].end_byte == child.start_byte:
                    raise CannotRead("it is not clear where a word ends")
            else:
                raise CannotRead(f"a command has a {child.type.replace('_', ' ')} in it")
        programs.run(self, (*self.words(parts), *extra), tuple(names), stdin or self.given, self.text(node))

    def inner(self, source: str, part: str) -> None:
        """Text that a command runs as a script of its own."""
        if any(token in SPECIAL for token in source):
            self.acts.append(Act("opaque", "", part, why="it runs text that is not known before"))
            return
        shell = Shell(
            source, dict(self.variables), self.cwd, written=set(self.written), depth=self.depth + 1, functions=set(self.functions)
        )
        self.acts += shell.read()


def read(source: str, cwd: str, home: str) -> list[Act]:
    """All that a command would do when it is run in `cwd`."""
    return Shell(source, {"HOME": home, "PWD": cwd}, cwd).read()
