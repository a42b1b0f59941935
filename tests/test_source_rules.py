"""Rules of the source, checked on its syntax trees: nothing unsafe, and each package imports only what it may."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("modeling", "trainers", "dataset_builders", "eval_tasks", "hub_cards", "cli", "recipes")
SOURCES = sorted(path for package in (*PACKAGES, "benchmarks", "examples") for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

UNSAFE_KEYWORDS = {
    ("shell", True),
    ("weights_only", False),
    ("allow_pickle", True),
    ("trust_remote_code", True),  # our classes are registered; only people without the package need it
}
# What travels to the Hub with a checkpoint may lean on nothing that transformers and torchvision do not bring.
HUB_SAFE = {"torch", "torchvision", "transformers", "safetensors", "tokenizers", "numpy", "PIL"}
# Files that no checkpoint takes along: they merge adapters, compare versions, read datasets and tables.
STAYS_HERE = {
    *{("peft_adapters.py", "peft"), ("versions.py", "packaging"), ("dataset_files.py", "datasets")},
    ("records.py", "pyarrow"),
    ("loading.py", "huggingface_hub"),
    ("progress.py", "tqdm"),
    ("pages.py", "jinja2"),
}
# Imported only when a function needs it, inside `try`: transformers asks for others before it runs the code.
IMPORTED_WHEN_NEEDED = {("video_file.py", "av")}
# What rows are made of: words, files, and the `Clip` that every package reads videos into.
ROW_MODELING = {
    *("tokens", "prompts", "errors", "atomic", "processing", "row_rules", "text_files", "offered_options"),
    *("records", "chat_messages", "listed_options", "progress", "pages", "file_names"),
    *("clip", "video_decoding", "video_file", "video_frames", "video_source", "video_timeline", "images"),
}
# What trainers use of the evaluation: the answer parser, and for free-running evaluation its loop and intervals.
ANSWERING = {"answers", "predict", "scores"}
# And of the builders: what tells a damaged video from a sound one, what decodes the videos that rows name, and what
# the tiny backbone learns to see and to describe.
BUILDERS = {"sources.video_reader", "loading", "sources.world_descriptions", "world.cells"}
# The documented exceptions (CONTRIBUTING.md): the benchmark of the rendered world renders its own questions.
# And trainers that are used from Python write the same cards as the commands.
LAZY_EXCEPTIONS = {
    ("eval_tasks/fourd_world.py", "dataset_builders"),
    ("trainers/common/saved_files.py", "hub_cards"),
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def dotted(node: ast.expr) -> str:
    """`a.b.c` for a chain of names, the empty string for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := dotted(node.value)):
        return f"{base}.{node.attr}"
    return ""


def unsafe_uses(module: ast.Module) -> Iterator[str]:
    """Everything in a module that runs data as code, or hides failures."""
    banned = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load"}
    pickles = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for node in ast.walk(module):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield f"line {node.lineno}: bare except"
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"line {node.lineno}: {name}" for name in names if name.partition(".")[0] in pickles)
        elif isinstance(node, ast.Call):
            if dotted(node.func) in banned:
                yield f"line {node.lineno}: {dotted(node.func)}()"
            for keyword in node.keywords:
                value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
                if (keyword.arg, value) in UNSAFE_KEYWORDS:
                    yield f"line {node.lineno}: {keyword.arg}={value}"


def imports(module: ast.AST, path: Path) -> Iterator[tuple[str, bool]]:
    """Every imported module by absolute name, and whether importing the file runs that import."""
    lazy = {
        inner
        for outer in ast.walk(module)
        if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef)) or _is_type_checking(outer)
        for inner in ast.walk(outer)
    }
    package = ["fourdthinker", *path.relative_to(ROOT).parent.parts]
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, node.module] if node.module else base)
            # `from . import x` names modules; `from .x import y` names x already.
            names = [stem] if node.module else [f"{stem}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((name, node not in lazy) for name in names)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and dotted(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def package_imports(path: Path) -> Iterator[tuple[str, str, bool]]:
    """`(package, module in it, at import time)` for each import of ours."""
    for name, eager in imports(tree(path), path):
        parts = name.split(".")
        if parts[0] == "fourdthinker":
            yield parts[1] if len(parts) > 1 else "", ".".join(parts[2:]), eager


@pytest.mark.medium
@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_nothing_unsafe(path):
    assert list(unsafe_uses(tree(path))) == []


@pytest.mark.parametrize(
    "code",
    [
        "eval('1')",
        "exec(code)",
        "import pickle",
        "from pickle import loads",
        "torch.load(f, weights_only=False)",
        "numpy.load(f, allow_pickle=True)",
        "subprocess.run(c, shell=True)",
        "AutoModel.from_pretrained(f, trust_remote_code=True)",
        "os.system(c)",
        "yaml.load(t)",
        "try:\n    x\nexcept:\n    pass",
    ],
)
def test_the_ban_sees(code):
    assert list(unsafe_uses(ast.parse(code)))


@pytest.mark.parametrize("code", ["model.eval()", "re.compile('a')", "torch.load(f)", "try:\n    x\nexcept E:\n    y"])
def test_the_ban_leaves_alone(code):
    assert not list(unsafe_uses(ast.parse(code)))


@pytest.mark.medium
@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=relative)
def test_no_bare_package_names(path):
    """From the root of a checkout `import modeling` works too, and makes a second copy of every class."""
    bare = [
        name
        for name, _ in imports(tree(path), path)
        if name.partition(".")[0] in (*PACKAGES, "tests", "benchmarks", "examples")
    ]
    assert bare == []


# Checkpoints take along flat files only.
@pytest.mark.parametrize("path", [p for p in SOURCES if p.parent == ROOT / "modeling"], ids=relative)
def test_modeling_travels_alone(path):
    module = tree(path)
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and node.level:
            # transformers copies a checkpoint's siblings one level deep, found by reading `from .name import x`.
            assert node.level == 1 and node.module and "." not in node.module, ast.unparse(node)
    tried = {name for outer in ast.walk(module) if isinstance(outer, ast.Try) for name, _ in imports(outer, path)}
    for name, eager in imports(module, path):
        top = name.partition(".")[0]
        assert top != "fourdthinker" or name.startswith("fourdthinker.modeling."), name
        known = top in HUB_SAFE or top in sys.stdlib_module_names or (path.name, top) in STAYS_HERE
        known = known or ((path.name, top) in IMPORTED_WHEN_NEEDED and name in tried and not eager)
        assert top == "fourdthinker" or known, name
    absolute = [n for n in ast.walk(module) if isinstance(n, ast.ImportFrom) and not n.level]
    assert not [n for n in absolute if (n.module or "").startswith("fourdthinker")]


def allowed(package: str, target: str, module: str) -> bool:
    """The table of packages in CONTRIBUTING.md."""
    if target == package or package in ("hub_cards", "cli", "benchmarks", "examples"):
        return True
    if package == "trainers":
        shared = {"eval_tasks": ANSWERING, "dataset_builders": BUILDERS}
        return target == "modeling" or module in shared.get(target, ())
    if package == "dataset_builders":
        return target == "modeling" and module in ROW_MODELING
    if package == "eval_tasks":
        return target == "modeling"
    return False


@pytest.mark.medium
@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_packages_import_only_what_they_may(path):
    package = relative(path).partition("/")[0]
    for target, module, eager in package_imports(path):
        if not eager and (relative(path), target) in LAZY_EXCEPTIONS:
            continue
        assert allowed(package, target, module), f"{relative(path)} imports fourdthinker.{target}.{module}"


@pytest.mark.parametrize("package,banned", [("dift", {"grpo"}), ("grpo", {"dift"}), ("common", {"dift", "grpo"})])
def test_stages_of_training_import_nothing_of_each_other(package, banned):
    for path in (p for p in SOURCES if relative(p).startswith(f"trainers/{package}/")):
        found = {module.partition(".")[0] for package, module, _ in package_imports(path) if package == "trainers"}
        assert not found & banned, relative(path)


@pytest.mark.parametrize("path", [p for p in SOURCES if relative(p).startswith("eval_tasks/")], ids=relative)
def test_eval_tasks_import_without_torch(path):
    """Scores can be read on a machine with neither torch nor lmms_eval."""
    if relative(path) in {"eval_tasks/lmms/model.py", "eval_tasks/lmms/task.py"}:
        pytest.skip("subclasses of lmms-eval's own classes, imported by lmms-eval alone")
    banned = {"torch", "torchvision", "transformers", "lmms_eval"}
    assert not banned & {name.partition(".")[0] for name, eager in imports(tree(path), path) if eager}


@pytest.mark.parametrize("path", [p for p in SOURCES if relative(p).startswith("cli/")], ids=relative)
def test_commands_import_late(path):
    light = {"argparse", "yaml", "fourdthinker"} | set(sys.stdlib_module_names)
    eager = {name for name, eager in imports(tree(path), path) if eager}
    assert not {name for name in eager if name.partition(".")[0] not in light}


def written_files() -> list[Path]:
    """Every text file of the project that users get, tests aside."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    paths = [ROOT / line for line in listed.stdout.splitlines()] if listed.returncode == 0 else SOURCES
    return [p for p in paths if p.is_file() and p.relative_to(ROOT).parts[0] != "tests" and _is_text(p)]


def _is_text(path: Path) -> bool:
    return b"\0" not in path.read_bytes()[:4096] and path.stat().st_size < 1_000_000


@pytest.mark.parametrize("path", written_files(), ids=relative)
def test_no_path_of_one_machine(path):
    pattern = re.compile(r"(?<![\w.:/])/(?:work|root|home|mnt|Users)/|(?<![\w.:/-])/tmp/[\w.]|\.\./shared\b")
    if relative(path) == ".ci/run":  # its fallback for a missing TMPDIR
        pattern = re.compile(r"/(?:work|root|home)/|\.\./shared\b")
    found = [line for line in path.read_text(encoding="utf-8").splitlines() if pattern.search(line)]
    assert found == []


def test_every_file_is_utf8_with_a_final_newline():
    for path in (p for p in written_files() if p.suffix in {".py", ".yaml", ".md", ".cfg", ".toml", ".jinja"}):
        text = path.read_text(encoding="utf-8")
        written_by_transformers = path.name == "chat_template.jinja"
        assert not text or text.endswith("\n") or written_by_transformers, relative(path)
