"""What a mutation changes: one operator, constant, condition or statement, found in C++ and in Python alike.

Comments, strings, declarations and what only builds a message are not touched.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SWAPS = {
    "relation": {" < ": " <= ", " <= ": " < ", " > ": " >= ", " >= ": " > ", " == ": " != ", " != ": " == "},
    "arithmetic": {
        " + ": " - ",
        " - ": " + ",
        " * ": " / ",
        " / ": " * ",
        " // ": " * ",
        " % ": " / ",
        " += ": " -= ",
        " -= ": " += ",
        " *= ": " /= ",
        " /= ": " *= ",
        "++": "--",
        "--": "++",
    },
    "logic": {" && ": " || ", " || ": " && ", " and ": " or ", " or ": " and "},
    "truth": {"true": "false", "false": "true", "True": "False", "False": "True", "any(": "all(", "all(": "any("},
    "min/max": {"min(": "max(", "max(": "min(", "minimum(": "maximum(", "maximum(": "minimum("},
}


def _word(text: str) -> str:
    """A pattern for it where it is no part of a longer word."""
    before = r"(?<!\w)" if text[0].isalpha() else ""
    return before + re.escape(text) + (r"(?!\w)" if text[-1].isalpha() else "")


PATTERNS = {operator: re.compile("|".join(_word(old) for old in pairs)) for operator, pairs in SWAPS.items()}
CONSTANT = re.compile(r"(?<![\w.'])\d+(?:\.\d+)?(?![\w.'])")
CPP_QUOTED = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])'", re.DOTALL)
CPP_LEFT_OUT = re.compile(
    r"\s*(?:using|namespace|template|static_assert|extern|friend|enum|case|default|struct|class|virtual)\b"
    r"|[^;]* = default;"
)
CPP_CONDITION = re.compile(r"\b(?:if|while) \(")
CPP_DROPPED = re.compile(
    r"(?:throw\b|(?:[\w.\[\]>*():+\- ]|->)+?(?:\(| [-+*/|&]?= |\+\+;|--;)|(?:\+\+|--)\w|continue;)"
)
CPP_DECLARED = re.compile(r"(?!throw\b)[\w:<>,*&]+(?: [\w:<>,*&]+)* [*&]?\w+(?: = |\(|\{|;|\[)")
CPP_LOCK = re.compile(r"(?:const )?std::(?:lock_guard|unique_lock|scoped_lock)\b")
MESSAGES = re.compile(r"_?(?:fail|warn|refuse|complain)\w*$")  # functions that end in a message
TEXTS = tuple(f"{name} " for name in ["remedy", "given", "needed", "hint", "message", "note", "axis", "__all__"])


@dataclass(frozen=True, order=True)
class Mutation:
    """What replaces `old` in a file."""

    file: str
    line: int
    column: int
    old: str
    new: str
    operator: str
    source: str  # the line

    @property
    def changed(self) -> str:
        """The line afterwards."""
        return " ".join((self.source[: self.column] + self.new + self.source[self.column + len(self.old) :]).split())

    def apply(self, text: str) -> str:
        start = starts_of_lines(text)[self.line - 1] + self.column
        assert text.startswith(self.old, start)
        return text[:start] + self.new + text[start + len(self.old) :]


def blank(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """The text with these spans replaced by spaces; line ends stay."""
    characters = list(text)
    for start, end in spans:
        characters[start:end] = [c if c == "\n" else "\0" for c in characters[start:end]]
    return "".join(characters)


def starts_of_lines(text: str) -> list[int]:
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts


@dataclass(frozen=True)
class _Found:
    start: int
    end: int
    new: str
    operator: str


def _swaps(code: str, start: int, end: int) -> Iterator[_Found]:
    counting = code[start:end].lstrip().startswith("for (")  # forever, if it went the other way
    for operator, pattern in PATTERNS.items():
        for match in pattern.finditer(code, start, end):
            old = match.group()
            if not (counting and old in ("++", "--")):
                yield _Found(match.start(), match.end(), SWAPS[operator][old], operator)
    for match in CONSTANT.finditer(code, start, end):
        number = match.group()
        more = repr(float(number) + 1) if "." in number else str(int(number) + 1)
        yield _Found(match.start(), match.end(), more, "constant")
        if "." not in number and int(number) > 1:
            yield _Found(match.start(), match.end(), str(int(number) - 1), "constant")


def _closing(code: str, opening: int) -> int:
    """Where the parenthesis that opens here closes; -1 if nowhere."""
    depth = 0
    for at in range(opening, len(code)):
        depth += {"(": 1, ")": -1}.get(code[at], 0)
        if depth == 0:
            return at
    return -1


def _cpp(text: str) -> Iterator[_Found]:
    code = blank(text, [match.span() for match in CPP_QUOTED.finditer(text)])
    starts = starts_of_lines(code)
    before, in_macro, thrown = ";", False, -1
    for start, end in zip(starts, starts[1:], strict=False):
        line = code[start:end].replace("\0", "").rstrip()
        macro = in_macro or line.lstrip().startswith("#")
        in_macro = macro and line.endswith("\\")
        if macro or not line.strip():
            continue
        begins = before[-1] in ";{}:" or before.endswith("else")
        before = line
        if CPP_LEFT_OUT.match(line):
            continue
        first = start + len(code[start:end]) - len(code[start:end].lstrip())
        statement_end = code.find(";", first)
        statement = code[first : statement_end + 1]
        if begins and statement_end >= 0 and "{" not in statement and statement.count("(") == statement.count(")"):
            dropped = CPP_DROPPED.match(statement) and not CPP_DECLARED.match(statement)
            if not statement.startswith(("return", "break", "if ", "for ", "while ", "else", "case", "delete")) and (
                dropped or CPP_LOCK.match(statement)
            ):
                yield _Found(first, statement_end + 1, ";", "lock" if CPP_LOCK.match(statement) else "statement")
        if condition := CPP_CONDITION.search(code, start, end):
            opening = condition.end() - 1
            closing = _closing(code, opening)
            inside = code[opening + 1 : closing]
            if (
                ";" not in inside
                and closing > 0
                and "\n" not in inside
                and not re.match(r"(?:const )?[\w:]+[ *&]+\w+ = ", inside)
            ):
                yield _Found(opening + 1, closing, f"!({text[opening + 1 : closing]})", "condition")
        throw = code.find("throw ", start, end)
        if throw >= 0:
            thrown = code.find(";", throw)
            if code[start:throw].strip():
                yield _Found(throw, thrown + 1, ";", "statement")
            yield from _swaps(code, start, throw)
        elif start > thrown:
            yield from _swaps(code, start, end)


def _python(text: str) -> Iterator[_Found]:
    starts = starts_of_lines(text)
    lines = text.splitlines(keepends=True)

    def place(row: int, column: int) -> int:  # tokenize counts characters, ast bytes
        return starts[row - 1] + column

    def offset(row: int, column: int) -> int:
        return starts[row - 1] + len(lines[row - 1].encode()[:column].decode())

    def span(node: ast.AST) -> tuple[int, int]:
        return offset(node.lineno, node.col_offset), offset(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    left_out = [
        (place(*token.start), place(*token.end))
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type in (tokenize.STRING, tokenize.COMMENT) or tokenize.tok_name[token.type].startswith("FSTRING")
    ]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            left_out.append((starts[first - 1], starts[node.body[0].lineno - 1]))
            if MESSAGES.match(node.name) or node.name in ("__repr__", "__str__", "describe"):
                left_out.append(span(node))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            left_out.append(span(node))
        elif isinstance(node, ast.Raise):
            yield _Found(*span(node), "pass", "statement")
            left_out.append(span(node))
        elif isinstance(node, ast.Assign | ast.AugAssign) and text[span(node)[0] :].startswith(TEXTS):
            left_out.append(span(node))
        elif isinstance(node, ast.Assign | ast.AugAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(node, ast.AugAssign) or isinstance(target, ast.Attribute | ast.Subscript):
                yield _Found(*span(node), "pass", "statement")
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            function = node.value.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            yield _Found(*span(node), "pass", "statement")
            if MESSAGES.match(name):
                left_out.append(span(node))
        elif isinstance(node, ast.If | ast.While):
            start, end = span(node.test)
            yield _Found(start, end, f"not ({text[start:end]})", "condition")
        elif isinstance(node, ast.With) and "lock" in (held := text[slice(*span(node.items[0].context_expr))]).lower():
            start, end = offset(node.lineno, node.col_offset), starts[node.lineno] - 1
            if text[start:end].endswith(":") and held:
                yield _Found(start, end, "if True:", "lock")
    code = blank(text, left_out)
    for start, end in zip(starts, starts[1:], strict=False):
        if code[start:end].replace("\0", "").strip():
            yield from _swaps(code, start, end)


def mutations(root: Path, file: str) -> list[Mutation]:
    """All mutations of a file."""
    text = (root / file).read_text(encoding="utf-8")
    starts = starts_of_lines(text)
    found = _python(text) if file.endswith(".py") else _cpp(text)
    made = []
    lines = text.splitlines()
    for one in found:
        number = text.count("\n", 0, one.start) + 1
        column = one.start - starts[number - 1]
        old = text[one.start : one.end]
        made.append(Mutation(file, number, column, old, one.new, one.operator, lines[number - 1]))
    return sorted(set(made))
