"""Arguments of a command in a text that people paste: a shell script's part, or lines of YAML. Nothing of it is run.

What is read of a shell: continued lines, comments, quotes, arrays (their words stand where they are written), variables that the
text itself sets, their defaults (``${NNODES:-1}``) and whole-number arithmetic. Both branches of a condition are read.
"""

from __future__ import annotations

import ast
import operator
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from floorline.errors import BadInput

ASSIGNED = re.compile(r"([A-Za-z_]\w*)\+?=(.*)", re.DOTALL)
VARIABLE = re.compile(r"\$\(\(([^()]*|[^()]*\([^()]*\)[^()]*)\)\)|\$\{(\w+)(?::?-([^{}]*))?\}|\$(\w+)")
YAML_LINE = re.compile(r"""\s*(?:-\s+)?["']?(--)?([A-Za-z][\w-]*)["']?\s*:(?:\s+(.*))?$""")
YAML_ITEM = re.compile(r"\s*-\s+(.*)$")
OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.floordiv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
SLURM_NODES = re.compile(r"^#SBATCH\s+(?:--nodes|-N)[=\s]\s*(\d{1,6})\b", re.MULTILINE)
DEEPEST = 16
"""Quotes inside quotes."""
MOST_PUT_IN, LONGEST = 500, 1000
"""Variables that are put into one word, and characters of a word with variables."""


@dataclass(frozen=True)
class Arguments:
    """Arguments by name, without dashes before and with dashes inside, and the variables that the text sets.

    words      name → its words; none for a switch
    variables  name → text
    twice      names that are given with several values, of which the last counts

    >>> arguments("TP=4 \\n ARGS=( --tensor-model-parallel-size $TP --bf16 )").words
    {'tensor-model-parallel-size': ('4',), 'bf16': ()}
    """

    words: dict[str, tuple[str, ...]]
    variables: dict[str, str] = field(default_factory=dict)
    twice: tuple[str, ...] = ()

    def has(self, name: str) -> bool:
        """Whether an argument is there."""
        return name in self.words

    def variable(self, *names: str) -> str | None:
        """The first of some variables that the text sets, with what it is made of put in."""
        return next((filled(self.variables[n], self.variables) for n in names if n in self.variables), None)

    def text(self, name: str) -> str | None:
        """The first word of an argument, None where it is not there.

        raises BadInput where it has none, or one that hangs on a variable that nobody set
        """
        found = self.words.get(name)
        if found is None:
            return None
        if not found:
            raise BadInput(f"--{name} has no value; expected one after it")
        if "$" in found[0] or "`" in found[0]:
            raise BadInput(
                f"--{name} is {found[0][:40]!r}, which the text does not set; write a value there, or set it above"
            )
        return found[0]

    def listed(self, name: str) -> tuple[str, ...]:
        """All words of an argument that is a list, as ``a b``, ``a,b`` or ``[a, b]``."""
        joined = " ".join(self.words.get(name, ()))
        return tuple(w.strip("\"'") for w in re.split(r"[\s,\[\]]+", joined) if w)


def arguments(text: str) -> Arguments:
    """The arguments that a text holds.

    raises BadInput for a quote that does not end
    """
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    yaml = sum(bool(YAML_LINE.match(line)) for line in lines)
    return collected(yaml_words(lines), {}) if yaml * 2 > len(lines) else from_shell(text)


def from_shell(text: str) -> Arguments:
    """The arguments of a shell script's part."""
    bare = "\n".join("" if line.lstrip().startswith("#") else line for line in text.splitlines())
    joined = re.sub(r"\\[ \t]*\n", " ", bare)
    joined = re.sub(r"\$\(\((.*?)\)\)", lambda m: "$((" + re.sub(r"\s", "", m[1]) + "))", joined)
    nodes = SLURM_NODES.search(text)
    variables = {"SLURM_NNODES": nodes[1]} if nodes else {}
    found = list(spoken(words_of(joined), variables))
    return collected(found, variables)


def words_of(text: str) -> list[str]:
    """Words as a shell splits them, comments left out."""
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split = True
    try:
        return list(lexer)
    except ValueError as error:
        raise BadInput(f"the text ends inside a quote ({error}); expected whole lines of a script") from None


def spoken(words: Iterable[str], variables: dict[str, str], depth: int = 0) -> Iterator[tuple[str, str | None]]:
    """Names with a word each, or with None where they start; variables are noted by the way."""
    name = ""
    for raw in words:
        opened = raw.endswith("(") or (raw.startswith("(") and "[" not in raw)
        assigned = ASSIGNED.fullmatch(raw)
        if assigned and not raw.startswith("-"):
            inner = assigned[2].removeprefix("(")
            if "--" in inner and depth < DEEPEST:
                yield from spoken(words_of(inner), variables, depth + 1)
            else:
                variables[assigned[1]] = inner.rstrip(";&")
            name = ""
            continue
        word = raw.strip(";&|") if raw.startswith(("$", "([")) else raw.strip("();&|")
        if word.startswith("--") and re.search(r"\s", word) and depth < DEEPEST:
            yield from spoken(words_of(word), variables, depth + 1)
            name = ""
        elif word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            yield name, None
            if equals:
                yield name, value
        elif word and name and not opened:
            yield name, word
        name = "" if raw.endswith((")", ";", "&&", "|")) and not raw.startswith(("$", "([")) else name


def yaml_words(lines: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """The same of lines such as ``tensor_model_parallel_size: 8``; sections are looked through, a list is a name's words."""
    name, listed = "", False
    for line in lines:
        item, pair = YAML_ITEM.match(line), YAML_LINE.match(line)
        if pair:
            name, value, listed = pair[2], yaml_value(pair[3] or ""), False
            said = yaml_pair(name, value)
            yield from said if not name.isupper() else ()  # capitals are the environment
        elif item and name:
            if not listed:
                yield name, None
            yield name, yaml_value(item[1])
            listed = True


def yaml_pair(name: str, value: str) -> Iterator[tuple[str, str | None]]:
    """A name with its value: nothing for what is null, false or a section, a switch for what is true."""
    if not value or value in ("null", "~", "None") or value.lower() == "false":
        if value and name.replace("_", "-") == "add-bias-linear":
            yield "disable-bias-linear", None
        return
    yield name, None
    if value.lower() != "true":
        for word in re.split(r"[\s,\[\]]+", value) if value.startswith("[") else [value]:
            yield name, word


def yaml_value(text: str) -> str:
    """A value without its comment and its quotes."""
    return re.sub(r"(^|\s)#.*$", "", text).strip().strip("\"'")


def collected(found: Iterable[tuple[str, str | None]], variables: dict[str, str]) -> Arguments:
    """Arguments from names and words; what is given again counts from then on."""
    words: dict[str, tuple[str, ...]] = {}
    earlier: dict[str, tuple[str, ...]] = {}
    for name, word in found:
        key = name.lower().replace("_", "-")
        if word is None:
            if key in words:
                earlier[key] = words[key]
            words[key] = ()
        elif word:
            words[key] = (*words[key], filled(word, variables))
    return Arguments(words, variables, tuple(k for k, w in earlier.items() if w != words[k]))


def filled(text: str, variables: dict[str, str]) -> str:
    """A text with the variables that are known put in.

    >>> filled("${A}x$((A*2))${B:-7}$C", {"A": "4"})
    '4x87$C'
    """
    left = [MOST_PUT_IN]

    def inside(part: str, known: dict[str, str]) -> str:
        def put(match: re.Match[str]) -> str:
            arithmetic, braced, otherwise, bare = match.groups()
            left[0] -= 1
            if left[0] < 0:
                return match[0]
            if arithmetic is not None:
                whole = computed(inside(names_as_variables(arithmetic), known))
                return match[0] if whole is None else str(whole)
            name = braced or bare
            value = known.get(name, otherwise)
            return match[0] if value is None else inside(value, {k: v for k, v in known.items() if k != name})

        return VARIABLE.sub(put, part[:LONGEST])

    return inside(text, variables)


def names_as_variables(text: str) -> str:
    """Inside ``$((…))`` a name needs no dollar sign."""
    return re.sub(r"(?<![\w$}{])([A-Za-z_]\w*)", r"$\1", text)


def computed(text: str) -> int | None:
    """Whole-number arithmetic, None for anything else.

    >>> computed("8*(2+1)"), computed("2**9"), computed("f(1)")
    (24, None, None)
    """

    def value(node: ast.expr) -> int:
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value < 10**9:
            return node.value
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            return OPERATORS[type(node.op)](value(node.left), value(node.right))
        raise ValueError

    try:
        return value(ast.parse(text.strip(), mode="eval").body)
    except (ValueError, SyntaxError, ZeroDivisionError, RecursionError, MemoryError):
        return None
