"""Write `docs/errors.md`: every message of invalid input that the sources raise, with its remedy.

python docs/list_errors.py

Messages are read from the syntax trees: the texts given to `InputError` and its subclasses, also where a variable, a
constant or the return value of a function of ours carries them. What is filled in when the message is made stands in
braces.
"""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
AREAS = {
    "modeling": "Models, videos and files",
    "trainers": "Training",
    "dataset_builders": "Building data",
    "eval_tasks": "Evaluation",
    "hub_cards": "Cards, publishing and serving",
    "cli": "Commands",
}
HEADER = """\
# Error messages

Invalid input ends a command with one line and exit code 2, without a traceback, and nothing half-written is left.
These are all such lines of this package; search the page for words of yours. What stands in braces is filled in.
In Python the same line is the message of `fourdthinker.modeling.errors.InputError`, a `ValueError`. Any other
exception is a defect: please report it with the traceback and the output of `fourdthinker env`.

`python docs/list_errors.py` writes this page from the sources; a test compares the two.
"""
# What to do about the few messages that say only what is wrong.
REMEDIES = {
    r"(there is no file|cannot read) \{": "check the path, and that you may read it",
    r"(has|holds) no (rows|paths)$": "name a file or folder with at least one",
    r"holds no ": "name the folder that holds it, as the page on benchmarks says",
    r"is no folder here and no name": "name a folder, or a repository as `owner/name`",
    r"^the (reasoning|answer ended)|^the name .* (says|is not one)|imagery marks for": (
        "nothing, if a language model wrote it: it is asked again, and after three such texts the template's stays"
    ),
    r"^row \{\w+\}: |\(--on-bad-row": "correct that row, or leave it out",
    r"no such attention": "leave `attn_implementation` out, or install what the line names",
    r"cannot be (opened|used here): \{": "check the path or value, and what the line names",
    r"is an adapter of .* cannot be read": "check the name of that base, and that you may read it",
    r"its (config|generation_config)\.json": "save the model again, or correct that field",
    r"^a threshold is given for": "name kinds of questions that the rows have",
    r"^reward .* failed": "correct the reward function",
    r"cannot be imported": "check the name, and install its package",
    r"has no answer to score": "give that row an answer, or leave it out",
    r"holds checkpoints of": "name another output folder, or delete the checkpoints",
    r"cannot be made with them": "correct those settings",
    r"'paths' is missing|^(messages has|no column|its id|its video|options is)|lack the columns|the field 'Correct'": (
        "correct the rows, as the page on their format says"
    ),
    r"has no row \{": "name the data set that these paths are of",
    r"Ray worker": "look into Ray's own log, then run the same command again",
    r"^\{where\}: there are": "put one record on each line",
    r"two objects are called": "give them different names",
    r"^there cannot be": "ask for 0 or more",
    r"do not fit|prompts hold": "give arrays of the shapes that the line names",
    r"no question in common": "give two runs of the same questions",
    r"leaves the data folder": "put the video into the folder",
    r"none of the videos of|no such folder; |no rows of a configuration|data are not here": (
        "get the data as the page on benchmarks says"
    ),
    r"is about \{": "give rows about one clip in each group",
    r"is no JSON object of object ids|has no mask of any question": "write predictions as the page on evaluation says",
    r"doc_id": "give a file that `eval --answers` or lmms-eval wrote",
    r"that are hidden$": "hide less, or leave the row out",
    r"is no address of this machine": "leave `--host` out, or name an address of this machine",
    r"sliding window cannot be served": "serve a checkpoint without one; other commands take it",
    r"^cannot publish|and nothing was sent: \{|is unchanged: \{": (
        "do what the reason asks for, then run the same command again"
    ),
    r"needs what is not installed|is not installed: ": "install it",
    r"unknown (setting|key)": "correct the name",
    r": \{(remedy|without effect)\}$": "what stands behind the colon",
    r"nothing was written: \{remedy|is no model: \{remedy|no model folder": "name a folder that holds one",
    r"is neither a letter nor one|is the letter of none": "answer by a letter or the text of an option",
    r"neither a word nor a list": "put the value in quotation marks",
    r"answers \{line\}": "check address, key and model of the endpoint",
    r"which (are not on this machine|cannot be downloaded)": "put the files there, or let them be downloaded",
}
# A message that says itself what is right.
SAYS_IT = re.compile(
    r"\b(must|needs?|goe?s? with|takes (at most|the|a name)|gives?|copy|convert|write|run the same|look at)\b"
    r"|publish again|name it|is three numbers|, not \{|has (the (stages|splits)|clips for)|is \{motion\}, or of"
)
_LETTERS = re.compile(r"[a-z]{2}")


class Sources:
    """The parsed packages: functions and text constants by name, and the exceptions for invalid input."""

    def __init__(self, root: Path):
        files = [path for area in AREAS for path in sorted((root / area).rglob("*.py"))]
        self.modules = {path.relative_to(root): ast.parse(path.read_text(encoding="utf-8")) for path in files}
        # Of names that several modules have, each means its own; the rest are imported.
        constants = {path: _text_constants(tree) for path, tree in self.modules.items()}
        for path, tree in self.modules.items():
            _FillIn(constants[path]).visit(tree)
        self.constants = {name: text for own in constants.values() for name, text in own.items()}
        nodes = [node for tree in self.modules.values() for node in ast.walk(tree)]
        self.functions = defaultdict(list)
        for node in nodes:
            if isinstance(node, ast.FunctionDef):
                self.functions[node.name].append(node)
        classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
        self.exceptions: dict[str, ast.FunctionDef | None] = {"InputError": None}
        for _ in range(3):  # subclasses of subclasses
            for one in classes:
                if {_last_name(base) for base in one.bases} & self.exceptions.keys():
                    made = [node for node in one.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
                    self.exceptions[one.name] = made[0] if made else None

    def messages(self, area: str) -> list[str]:
        """All message templates raised in a package, sorted, each once."""
        found = set()
        for path, tree in self.modules.items():
            if path.parts[0] == area:
                for scope, call in _calls(tree):
                    if _last_name(call.func) in self.exceptions and (call.args or call.keywords):
                        found.update(" ".join(text.split()).rstrip(".") for text in self._of_call(call, scope))
        return sorted(text for text in found if _has_words(text))

    def _of_call(self, call: ast.Call, scope: ast.AST) -> Iterator[str]:
        """The messages of one `InputError(...)`, or of a subclass whose `__init__` puts the message together."""
        made = self.exceptions[_last_name(call.func)]
        if made is None:
            yield from self._texts(call.args[0], scope)
            return
        names = [argument.arg for argument in made.args.args[1:]]
        defaults = dict(zip(reversed(names), reversed(made.args.defaults), strict=False))
        given = defaults | dict(zip(names, call.args, strict=False)) | {word.arg: word.value for word in call.keywords}
        (message,) = [inner.args[0] for inner in ast.walk(made) if _is_super_init(inner)]
        parts = [
            [part.value]
            if isinstance(part, ast.Constant)
            else list(self._texts(given[_last_name(part.value)], scope)) or [_placeholder(part.value)]
            for part in message.values
        ]
        yield from map("".join, product(*parts))

    def _texts(self, node: ast.expr, scope: ast.AST, depth: int = 0) -> Iterator[str]:
        """The templates that an expression may give; nothing where only another exception or a value carries it."""
        inner: list[tuple[ast.expr, ast.AST]] = []
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                part.value if isinstance(part, ast.Constant) else self._fill(part.value) for part in node.values
            )
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            sides = [list(self._texts(side, scope, depth + 1)) or [""] for side in (node.left, node.right)]
            yield from map("".join, product(*sides))
        elif isinstance(node, ast.IfExp):
            inner = [(node.body, scope), (node.orelse, scope)]
        elif isinstance(node, ast.BoolOp):
            inner = [(value, scope) for value in node.values]
        elif isinstance(node, ast.Name) and node.id in self.constants:
            yield self.constants[node.id]
        elif isinstance(node, ast.Name):
            inner = [(value, scope) for value in _assigned(scope, node.id)]
        elif isinstance(node, ast.Call):
            functions = self.functions.get(_last_name(node.func), ())
            inner = [(value, function) for function in functions for value in _returned(function)]
        if depth < 5:
            for value, where in inner:
                yield from self._texts(value, where, depth + 1)

    def _fill(self, node: ast.expr) -> str:
        if isinstance(node, ast.Constant):
            return str(node.value)
        return self.constants.get(_last_name(node)) or _placeholder(node)


class _FillIn(ast.NodeTransformer):
    """Puts texts in the place of names that stand for them."""

    def __init__(self, texts: dict[str, str]):
        self.texts = texts

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if isinstance(node.ctx, ast.Load) and node.id in self.texts:
            return ast.copy_location(ast.Constant(self.texts[node.id]), node)
        return node


def _text_constants(tree: ast.Module) -> dict[str, str]:
    """The texts that a module gives a name to."""
    return {
        _last_name(node.targets[0]): node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }


def _calls(tree: ast.Module) -> Iterator[tuple[ast.AST, ast.Call]]:
    """Every call with the innermost function that it stands in."""
    scopes = {}
    for outer in ast.walk(tree):
        if isinstance(outer, ast.FunctionDef):
            scopes.update((inner, outer) for inner in ast.walk(outer))
    yield from ((scopes.get(node, tree), node) for node in ast.walk(tree) if isinstance(node, ast.Call))


def _assigned(scope: ast.AST, name: str) -> Iterator[ast.expr]:
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign) and name in map(_last_name, node.targets):
            yield node.value
        elif isinstance(node, ast.NamedExpr) and node.target.id == name:
            yield node.value


def _returned(function: ast.FunctionDef) -> list[ast.expr]:
    return [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value is not None]


def _is_super_init(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "super().__init__"


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _placeholder(node: ast.expr) -> str:
    """The name of what is filled in, in braces; dots for longer expressions."""
    while isinstance(node, ast.Call | ast.Subscript):
        if isinstance(node, ast.Subscript):
            node = node.value
        elif isinstance(node.func, ast.Attribute) and node.func.attr == "join":
            return "{…}"
        else:
            node = node.args[0] if node.args else node.func
    name = _last_name(node).strip("_").lower().replace("_", " ")
    return f"{{{name or '…'}}}"


def _has_words(text: str) -> bool:
    return bool(_LETTERS.search(re.sub(r"\{[^}]*\}", "", text)))


def split_remedy(message: str) -> tuple[str, str]:
    """What is wrong and what to do: the words behind the last colon or semicolon, or what `REMEDIES` adds."""
    for place in reversed(list(re.finditer(r"[:;] (?![^{}]*\})", message))):
        wrong, remedy = message[: place.start()], message[place.end() :]
        if _has_words(remedy) and _has_words(wrong):
            return wrong, remedy
    added = (remedy for pattern, remedy in REMEDIES.items() if re.search(pattern, message))
    return message, next(added, "")


def as_code(text: str) -> str:
    """A code span that may hold backticks and bars inside a table."""
    ticks = "``" if "`" in text else "`"
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{space}{text}{space}{ticks}".replace("|", "\\|") if text else ""


def render(sources: Sources) -> str:
    """The whole page."""
    parts = [HEADER]
    for area, title in AREAS.items():
        pairs = map(split_remedy, sources.messages(area))
        rows = [f"| {as_code(wrong)} | {as_code(remedy) or 'as it says'} |" for wrong, remedy in pairs]
        if rows:
            parts.append("\n".join([f"\n## {title}\n", "| what it says | what to do |", "|---|---|", *rows, ""]))
    return "".join(parts)


if __name__ == "__main__":
    target = ROOT / "docs" / "errors.md"
    page = render(Sources(ROOT))
    target.write_text(page, encoding="utf-8")
    sys.stdout.write(f"{target.relative_to(ROOT)}: {page.count(chr(10) + '| `')} messages\n")
