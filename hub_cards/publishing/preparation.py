"""What is changed in files on their way to the Hub: the card names its repository, the tokenizer no folder."""

import ast
import json
import re
from dataclasses import replace

from ..own_text import is_generated
from .folder import LocalFile, LocalFolder, parse_json

CARD = "README.md"
CONFIG = "config.json"
_TOKENIZER = "tokenizer_config.json"
# Arguments of the load that made a tokenizer, which transformers saves with it.
_LOADING = ("is_local", "local_files_only")
_CODE = re.compile(r"^(?P<fence>`{3,})python\n(?P<code>.*?)^(?P=fence)[ ]*$", re.DOTALL | re.MULTILINE)
Edit = tuple[int, int, str]  # first byte, last byte, and what takes their place
_LOADERS = ("load_dataset", "AutoProcessor.from_pretrained")


def prepare_files(folder: LocalFolder, repo_id: str, tag: str | None) -> LocalFolder:
    """Replace what must read otherwise on the Hub; the files of the folder stay as they are.

    Args:
        folder ([`LocalFolder`]): What was found.
        repo_id (`str`): Where it goes.
        tag (`str`, *optional*): The revision that the card's code loads.
    """
    files = dict(folder.files)
    text = folder.text(_TOKENIZER)
    if text is not None and (content := _without_loading(text)) is not None:
        files[_TOKENIZER] = LocalFile(_TOKENIZER, content, len(content), "", "")
    card = folder.text(CARD)
    if card is not None and (pointed := _point_at(folder, card, repo_id, tag)) != card:
        files[CARD] = LocalFile(CARD, pointed.encode(), len(pointed.encode()), "", "")
    return replace(folder, files=files)


def _point_at(folder: LocalFolder, card: str, place: str, revision: str | None) -> str:
    """The card with code that loads from a place: ours of a model is made anew, others edited."""
    if is_generated(card) and CONFIG in folder.files:
        from ..model_cards import renew_model_card

        return renew_model_card(folder.path, card, revision, place)
    return point_card(card, place, revision)


def model_snippet(folder: LocalFolder, place: str, revision: str | None) -> str:
    """Code that answers a question about `clip.mp4`: the card's, or where it has none, ours.

    Args:
        folder ([`LocalFolder`]): A model.
        place (`str`): The repository or folder that it loads.
        revision (`str`, *optional*): And at which commit.
    """
    from ..model_cards import renew_model_card

    card = folder.text(CARD) or ""
    code = find_snippet(_point_at(folder, card, place, revision), "generate")
    if code is None or json.dumps(place, ensure_ascii=False) not in code:
        code = find_snippet(renew_model_card(folder.path, card, revision, place), "generate")
    assert code is not None  # ours has one
    return code


def _without_loading(text: str) -> bytes | None:
    try:
        fields = parse_json(text)
    except ValueError:
        return None
    if not isinstance(fields, dict) or fields.keys().isdisjoint(_LOADING):
        return None
    kept = {name: value for name, value in fields.items() if name not in _LOADING}
    return (json.dumps(kept, indent=2, ensure_ascii=False) + "\n").encode()


def point_card(card: str, repo_id: str, revision: str | None) -> str:
    """The card with code that loads from a repository, at a revision.

    Whatever the first `AutoProcessor.from_pretrained` or `load_dataset` of its Python code loads is what the card is
    about; that name is replaced in every call. Other names, such as a base model's, stay.

    Args:
        card (`str`): Text of a `README.md`.
        repo_id (`str`): The repository, or a folder.
        revision (`str`, *optional*): A tag or commit; `None` leaves the code as it is, without a revision of its own.
    """
    location = find_location(card)
    if location is None:
        return card

    def point(match: re.Match[str]) -> str:
        code = point_code(match["code"], location, repo_id, revision)
        return f"{match['fence']}python\n{code}{match['fence']}"

    return _CODE.sub(point, card)


def find_location(card: str) -> str | None:
    """What the card's code loads: see [`point_card`]."""
    for match in _CODE.finditer(card):
        for call in _calls(match["code"]):
            if ast.unparse(call.func) in _LOADERS and call.args and isinstance(call.args[0], ast.Constant):
                return str(call.args[0].value)
    return None


def find_snippet(card: str, call: str) -> str | None:
    """The first Python block of a card that calls something.

    Args:
        card (`str`): Text of a `README.md`.
        call (`str`): Name of what is called, such as `"generate"`.
    """
    blocks = (match["code"] for match in _CODE.finditer(card))
    return next((code for code in blocks if any(ast.unparse(c.func).endswith(call) for c in _calls(code))), None)


def point_code(code: str, location: str, place: str, revision: str | None) -> str:
    """Python code whose calls with `location` take `place` instead, at a revision if one is given."""
    lines = code.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line.encode()))
    text, edits = code.encode(), list[Edit]()
    for call in _calls(code):
        for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
            if isinstance(argument, ast.Constant) and argument.value == location:
                edits.append((*_span(argument, starts), json.dumps(place, ensure_ascii=False)))
                edits += _revision_edits(call, starts, text, revision)
    for start, end, new in sorted(set(edits), reverse=True):
        text = text[:start] + new.encode() + text[end:]
    return text.decode()


def _revision_edits(call: ast.Call, starts: list[int], text: bytes, revision: str | None) -> list[Edit]:
    if revision is None:
        return []
    literal = json.dumps(revision)
    for keyword in call.keywords:
        if keyword.arg == "revision":
            return [(*_span(keyword.value, starts), literal)]
    _, end = _span(call, starts)
    comma = "" if text[: end - 1].rstrip().endswith(b",") else ", "
    return [(end - 1, end - 1, f"{comma}revision={literal}")]


def _span(node: ast.expr, starts: list[int]) -> tuple[int, int]:
    """First and last byte of a piece of code."""
    assert node.end_lineno is not None and node.end_col_offset is not None
    return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset


def _calls(code: str) -> list[ast.Call]:
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # pieces of code and output of a terminal
        return []
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return sorted(found, key=lambda call: (call.lineno, call.col_offset))
