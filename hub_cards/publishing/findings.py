"""Find what must not be published in a single file: pickles, secrets, and paths of this machine."""

import re
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from .file_texts import read_text_pieces
from .folder import LocalFile

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
_KEY_FILES = re.compile(r"\.env(\..*)?|.*\.env|\.netrc|\.pypirc|\.git-credentials|id_(rsa|dsa|ecdsa|ed25519)")
_SECRET = re.compile(
    rb"(?<![A-Za-z0-9])(?:hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{20,}|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36,}"
    rb"|github_pat_[A-Za-z0-9_]{40,}|glpat-[A-Za-z0-9_-]{20,}|xox[abprs]-[A-Za-z0-9-]{10,}|AIza[A-Za-z0-9_-]{35})"
    rb"|-----BEGIN [A-Z ]*PRIVATE KEY"
)
_PERSONAL = (
    rb"home|root|Users|Volumes|tmp|work|workspace|projects?|mnt|media|nfs|efs|fsx|raid|share|storage|lustre"
    rb"|gpfs|p?scratch|data\d*|ssd\d*|nvme\d*|content|kaggle"
)
# A name may have letters of any language, as they are or as JSON writes them.
_PLACE = re.compile(
    rb"(?:(?<![\w./~-])|(?<=file://))/(?:" + _PERSONAL + rb")/(?:[\w.\x80-\xff-]|\\u[0-9a-fA-F]{4})+"
    rb"|(?<![A-Za-z])[A-Z]:(?:\\{1,2}|/)Users(?:\\{1,2}|/)[\w.\x80-\xff-]+"
)
# Lists of pieces of text, some of which look like paths.
_VOCABULARIES = ("tokenizer.json", "vocab.json", "merges.txt")
SECRET = ":secret"  # behind the name of a file with something secret in it
_OVERLAP = 512  # bytes: longer than what is looked for


class Finding(NamedTuple):
    """One reason not to publish a folder.

    Attributes:
        name (`str`): The file, or a word for the whole; what `--allow` takes. With `:secret` behind it of a token.
        fault (`str`): What is wrong with it, after the name.
        remedy (`str`): What to do.
    """

    name: str
    fault: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.name} {self.fault}: {self.remedy}"


def find_file_faults(name: str, file: LocalFile, folder: Path) -> Iterator[Finding]:
    """What is wrong with one file by itself: a pickle, a secret, a path of this machine."""
    last = PurePosixPath(name).name
    remove = f"delete {folder / name}"
    if last == "training_args.bin":
        yield Finding(name, "is a pickle, the settings of a training", remove)
        return
    if PurePosixPath(last.lower()).suffix in PICKLES:
        yield Finding(name, "may be a pickle, which runs code when it is opened", f"{remove}, or save it otherwise")
        return
    if _KEY_FILES.fullmatch(last.lower()):
        yield Finding(name, "is a file for passwords and keys", remove)
        return
    if _is_pickle(file):
        yield Finding(name, "is a pickle, which runs code when it is opened", f"{remove}, or save it otherwise")
        return
    places = _places(folder)
    shape = None if last in _VOCABULARIES else _PLACE
    secret = place = None
    for piece in read_text_pieces(file, _OVERLAP):
        secret = secret or find_secret(piece)
        place = place or find_place(piece, places, shape)
    if secret is not None:
        # A name of its own: whoever lets a path pass has not let a token pass.
        yield Finding(name + SECRET, "holds what looks like a token or a private key", f"take it out, or {remove}")
    if place is not None:
        yield Finding(name, f"names a path of this machine ({place})", f"take it out, or {remove}")


def find_secret(text: bytes) -> str | None:
    """What looks like a token or private key; its beginning alone, which is enough to find it."""
    match = _SECRET.search(text)
    return None if match is None else match[0][:8].decode()


def find_place(text: bytes, places: Collection[bytes] = (), shape: re.Pattern[bytes] | None = _PLACE) -> str | None:
    """The first path in a text that means something on one machine only.

    Args:
        text (`bytes`): What is to be published.
        places (`Collection[bytes]`, *optional*): Paths of this machine.
        shape (`re.Pattern`, *optional*): What paths of any machine look like.
    """
    for place in places:
        if (at := text.find(place)) >= 0 and re.match(rb"[^\w.-]|$", text[at + len(place) :]):
            return place.decode(errors="replace")
    match = shape.search(text) if shape else None
    return None if match is None else match[0].decode(errors="replace")


def _places(folder: Path) -> list[bytes]:
    """Paths of this machine: the user's home, where the command runs, where the folder lies, temporary files."""
    paths = {Path.home(), Path.cwd(), folder.absolute().parent, Path(tempfile.gettempdir())}
    return [str(path).encode() for path in paths if len(path.parts) > 2]


def _is_pickle(file: LocalFile) -> bool:
    """Whether a file is a pickle by its content: as Python writes it, or inside the archive that torch writes."""
    start = file.start(4096)
    return re.match(rb"\x80[\x02-\x05](?:\x95|[\]}(cK\x8a-\x8c])", start) is not None or (
        start.startswith(b"PK\x03\x04") and b"/data.pkl" in start
    )
