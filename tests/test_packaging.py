"""The package as users get it: a wheel that holds everything, one import root, papers whose links lead somewhere."""

import ast
import configparser
import doctest
import fnmatch
import importlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fourdthinker.cli.main import COMMANDS
from fourdthinker.dataset_builders.pipeline import stage_tasks

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("modeling", "trainers", "dataset_builders", "eval_tasks", "hub_cards", "cli", "recipes")
GUIDES = ("README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")))
PAPERS = (*GUIDES, "CONTRIBUTING.md", "CHANGELOG.md")


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def listed(section: str, key: str) -> list[str]:
    return setup_cfg()[section][key].split()


def git(*args: str) -> list[str]:
    done = subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("needs a git checkout")
    return [line for line in done.stdout.splitlines() if (ROOT / line).is_file()]


def project_files() -> list[str]:
    return git("ls-files", "--cached", "--others", "--exclude-standard")


# --- setup.cfg -------------------------------------------------------------------------------------------------------


def test_packages_list_is_complete():
    """A folder missing from the list works in an editable install and is absent from the wheel."""
    folders = {
        path.parent.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if "__pycache__" not in path.parts
    }
    assert {f"fourdthinker.{folder.replace('/', '.')}" for folder in folders} == set(listed("options", "packages"))


@pytest.mark.parametrize("package", listed("options", "packages"))
def test_every_package_has_an_init(package):
    assert (ROOT / Path(*package.split(".")[1:]) / "__init__.py").is_file()


def test_root_stays_a_namespace():
    assert not (ROOT / "__init__.py").exists()
    assert not (ROOT / "fourdthinker").exists(), "a folder of that name in the checkout hides the installed package"


def test_extras_and_scripts():
    config = setup_cfg()
    extras = set(config["options.extras_require"])
    assert {"eval", "data", "world", "dev", "all"} <= extras
    chosen = re.search(r"\[(.+)\]", config["options.extras_require"]["all"])[1].split(",")
    assert set(chosen) == extras - {"all"}
    scripts = distribution("fourdthinker").entry_points.select(group="console_scripts")
    assert {entry.name for entry in scripts} == {"fourdthinker", "lmms_eval"}


# Packages of extras that no code of ours imports, because other programs need them.
TOOLS = {
    *("build", "decord", "imageio-ffmpeg", "mkdocstrings-python", "mypy", "pip-audit", "playwright"),
    *("pytest", "pytest-xdist", "ruff", "types-pyyaml", "uv", "zensical"),
}
# Packages that are imported under another name.
IMPORT_NAMES = {
    "opencv-python-headless": "cv2",
    "rerun-sdk": "rerun",
    "scenedetect-headless": "scenedetect",
    "scikit-learn": "sklearn",
}


@pytest.mark.medium
def test_extras_hold_what_the_code_imports_and_no_more():
    extras = {
        canonicalize_name(Requirement(line).name)
        for name, section in setup_cfg()["options.extras_require"].items()
        for line in section.splitlines()
        if line and not line.startswith("#") and name != "all"
    }
    imported = set()
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            imported |= {canonicalize_name(name.partition(".")[0]) for name in names}
    assert {IMPORT_NAMES.get(name, name) for name in extras} - imported == TOOLS


def test_one_opencv_package_is_locked():
    assert len([name for name in locked_versions() if name.startswith("opencv")]) == 1


def required() -> list[Requirement]:
    """Everything that setup.cfg asks for, in any extra."""
    config = setup_cfg()
    sections = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    lines = [line for section in sections for line in section.splitlines() if line and not line.startswith("#")]
    return [Requirement(line) for line in lines]


def locked_versions() -> dict[str, list[Requirement]]:
    """The lines of constraints.txt by package; one may have a line for each of several Python versions."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    locked = {}
    for requirement in (Requirement(line) for line in lines if line and not line.startswith("#")):
        locked.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return locked


def test_lock_holds_an_exact_version_inside_each_range():
    locked = locked_versions()
    for requirement in required():
        if requirement.name == "fourdthinker":
            continue
        pins = locked.get(canonicalize_name(requirement.name))
        assert pins, f"{requirement.name} is not in constraints.txt: run make lock"
        for pin in pins:
            (exact,) = pin.specifier
            assert exact.operator == "==", pin
            assert requirement.specifier.contains(exact.version), f"{pin} is outside {requirement}: run make lock"


def asked_versions() -> set[str]:
    """The distributions whose version the code asks for by name."""
    asked = set(stage_tasks._TOOLS.values())
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "version":
                asked |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return asked


@pytest.mark.medium
def test_versions_are_asked_of_what_setup_cfg_installs():
    # A developer's environment may have others, as `scenedetect` beside `scenedetect-headless`; a new one has not.
    assert asked_versions() > {"pycolmap", "scenedetect-headless"}
    assert asked_versions() <= {"fourdthinker", *(canonicalize_name(one.name) for one in required())}


def test_lock_serves_every_supported_python():
    for name, pins in locked_versions().items():
        for python in ("3.11", "3.12", "3.13"):
            environment = {"python_version": python, "python_full_version": f"{python}.5", "sys_platform": "linux"}
            chosen = [pin for pin in pins if pin.marker is None or pin.marker.evaluate(environment)]
            assert len(chosen) <= 1, f"{name} for Python {python}: {chosen}"


def test_entry_points_lead_somewhere():
    for entry in distribution("fourdthinker").entry_points:
        if entry.module.startswith("lmms_eval"):
            pytest.importorskip("lmms_eval")
        assert entry.load() is not None


def test_lmms_eval_alias_is_the_main_of_lmms_eval():
    """lmms-eval calls its own command `lmms-eval`; ours must stay the same function when theirs moves."""
    pytest.importorskip("lmms_eval")
    own = distribution("lmms_eval").entry_points.select(group="console_scripts", name="lmms-eval")
    ours = distribution("fourdthinker").entry_points.select(group="console_scripts", name="lmms_eval")
    assert [entry.value for entry in own] == [entry.value for entry in ours]


# --- what is where ---------------------------------------------------------------------------------------------------


def test_no_source_is_ignored():
    """An ignore pattern without a leading slash can swallow a folder of ours, here and in every clone."""
    ignored = git("ls-files", "--others", "--ignored", "--exclude-standard", "--", *PACKAGES, "tests", "benchmarks")
    assert [path for path in ignored if "__pycache__" not in path] == []


def test_tests_are_no_package():
    """With an `__init__.py`, pytest could take `tests/modeling` for the package itself."""
    assert {path.parent.name for path in (ROOT / "tests").rglob("__init__.py")} == {"local_hub"}
    assert "--import-mode=importlib" in setup_cfg()["tool:pytest"]["addopts"]


def test_yaml_files_parse():
    class Tolerant(yaml.SafeLoader):
        pass

    # lmms-eval's tasks name functions by `!function`.
    Tolerant.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))
    for path in (p for p in project_files() if p.endswith((".yaml", ".yml"))):
        content = yaml.load((ROOT / path).read_text(encoding="utf-8"), Tolerant)  # noqa: S506
        assert isinstance(content, dict) and content, path


def test_no_large_files():
    """Nothing above the 10 MB that the shipped backbone's weights may take; nothing else above 1 MB."""
    for path in project_files():
        limit = 10_000_000 if path.endswith(".safetensors") else 1_000_000
        assert (ROOT / path).stat().st_size <= limit, path


def test_no_pickles():
    suffixes = ("*.pt", "*.pth", "*.bin", "*.pkl", "*.pickle", "*.ckpt", "*.npy", "*.npz")
    assert [path for path in project_files() if any(fnmatch.fnmatch(path, suffix) for suffix in suffixes)] == []


class FencedExamples(doctest.DocTestParser):
    """Reads examples that stand in Markdown fences, whose closing ticks are no output."""

    def parse(self, string, name="<string>"):
        return super().parse(re.sub(r"^\s*```\w*\s*$", "", string, flags=re.MULTILINE), name)


def has_examples(path: Path) -> bool:
    return ">>>" in path.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [p.relative_to(ROOT) for package in PACKAGES for p in sorted((ROOT / package).rglob("*.py")) if has_examples(p)],
    ids=str,
)
def test_docstring_examples_run(path):
    """`pytest --doctest-modules` cannot import files with relative imports; by module name they run."""
    module = importlib.import_module(".".join(["fourdthinker", *path.with_suffix("").parts]))
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in doctest.DocTestFinder(parser=FencedExamples()).find(module):
        runner.run(test)
    assert runner.failures == 0, "an example that needs more than a moment carries `# doctest: +SKIP`"


# --- the wheel -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel of the files that git knows, so that no leftover of a build or a session gets in."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for path in project_files():
        target = source / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, target)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    built = subprocess.run(
        [*command, "--disable-pip-version-check", "--wheel-dir", str(folder), str(source)],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed_wheel(wheel, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    done = subprocess.run([*command, "--target", str(target), str(wheel)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


@pytest.mark.medium
def test_wheel_holds_every_file_of_the_packages(wheel):
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {f"fourdthinker/{path}" for path in project_files() if path.partition("/")[0] in PACKAGES}
    assert held == expected


@pytest.mark.medium
def test_wheel_owns_one_top_level_name(wheel):
    archive = zipfile.ZipFile(wheel)
    tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"fourdthinker"}
    (metadata,) = (name for name in archive.namelist() if name.endswith("METADATA"))
    headers = Parser().parsestr(archive.read(metadata).decode())
    assert headers["License-Expression"] == "Apache-2.0"
    assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())


# Drops the hook of an editable install, so that nothing but the wheel can answer.
_ONLY_THE_WHEEL = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
sys.path_hooks[:] = [hook for hook in sys.path_hooks if "editable" not in repr(hook).lower()]
sys.path[:] = [entry for entry in sys.path if "__editable__" not in entry]
sys.path_importer_cache.clear()
"""


def run_from_wheel(code: str, site: Path, cwd: Path) -> subprocess.CompletedProcess:
    # -I keeps the working folder and PYTHONPATH off sys.path; the wheel goes in front by hand.
    code = f"{_ONLY_THE_WHEEL}\nsys.path.insert(0, {str(site)!r})\n{code}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, timeout=600
    )


def module_names() -> list[str]:
    """Every module of the package, by the files that git knows."""
    names = []
    for path in project_files():
        parts = Path(path).with_suffix("").parts
        if path.endswith(".py") and parts[0] in PACKAGES and parts[-1] != "__main__":
            names.append(".".join(("fourdthinker", *(parts[:-1] if parts[-1] == "__init__" else parts))))
    return names


@pytest.mark.slow
def test_every_module_imports_from_the_wheel_under_one_name(installed_wheel):
    """Run in the checkout's root, where bare names such as `modeling` could slip in."""
    code = f"""
import importlib, importlib.util
for name in {module_names()}:
    module = importlib.import_module(name)
    assert module.__file__.startswith({str(installed_wheel)!r}), (name, module.__file__)
bare = set({PACKAGES}) & set(sys.modules)
assert not bare, bare
"""
    done = run_from_wheel(code, installed_wheel, ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_data_files_are_read_from_the_wheel(installed_wheel, tmp_path):
    code = """
from importlib.resources import files
from fourdthinker.cli.main import main
from fourdthinker.hub_cards import dataset_card
assert files("fourdthinker.hub_cards").joinpath("templates/model_card.md.jinja").is_file()
assert files("fourdthinker.dataset_builders.preview").joinpath("index.html.jinja").is_file()
assert list(files("fourdthinker.recipes").joinpath("demo").glob("*.yaml"))
assert "configs:" in dataset_card({"dift": {"train": "dift/train.parquet"}}).content
main(["--help"])
"""
    done = run_from_wheel(code, installed_wheel, tmp_path)
    assert done.returncode == 0 and "usage: fourdthinker" in done.stdout, done.stderr


# --- papers ----------------------------------------------------------------------------------------------------------


def links(text: str) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to headings."""
    headings = re.findall(r"^#+ +(.+?)\s*$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("paper", PAPERS)
def test_no_dead_links(paper):
    text = (ROOT / paper).read_text(encoding="utf-8")
    for link in links(text):
        if re.match(r"[a-z]+:", link):
            assert link.startswith("https://"), link
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / paper).parent / path if path else ROOT / paper
        assert target.exists(), f"{paper} links to {link}"
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"{paper} links to {link}"


def test_dead_links_are_seen():
    assert links("see [a](gone.md) and ```\n[b](code.md)\n```") == ["gone.md"]
    assert anchors("# One: two\n## `three`\n") == {"one-two", "three"}


def fenced(paper: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / paper).read_text(encoding="utf-8"), flags=re.DOTALL)


def console_text() -> str:
    """The console blocks of the README and the guides in docs/, continued lines joined."""
    return "\n".join(block for guide in GUIDES for block in fenced(guide, "console")).replace("\\\n", " ")


def test_readme_is_short_and_shows_a_small_picture():
    """A page that is read to its end, and that loads quickly on a phone."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 200
    shown = [link for link in links(text) if link.startswith("docs/pictures/")]
    assert shown and all((ROOT / path).stat().st_size < 200_000 for path in shown)


def test_readme_commands_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    used = set(re.findall(r"^(?:\$ )?fourdthinker ([a-z-]+)", console_text(), re.MULTILINE))
    assert used and used <= set(COMMANDS)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`", text)) <= targets
    assert {"make demo", "make test"} <= set(re.findall(r"make [a-z]+", text))


@pytest.mark.slow
@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_readme_options_exist(command):
    """Every option that a line of the README or a guide gives to a command is one of its options."""
    lines = console_text().replace(" ; ", "\n").splitlines()
    every = "--help-all" if command in ("dift", "grpo") else "--help"
    for line in (line for line in lines if re.match(rf"(?:\$ )?fourdthinker {command}\b", line)):
        helped = subprocess.run(
            [sys.executable, "-m", "fourdthinker.cli", command, every], capture_output=True, text=True, cwd=ROOT
        )
        assert helped.returncode == 0, helped.stderr
        for option in re.findall(r"--[\w-]+", line):
            assert re.search(rf"{option}\b", helped.stdout), f"{line}: no {option}"


def test_readme_python_parses():
    for block in fenced("README.md", "python"):
        ast.parse(block)


def test_readme_tree_names_every_folder():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    folders = {path.partition("/")[0] for path in project_files() if "/" in path} - {".ci"}
    assert not {folder for folder in folders if f"{folder}/" not in text}
