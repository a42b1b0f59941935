"""The entry: finding commands, filling arguments from files, and ending bad input in one line with exit code 2."""

import argparse
import importlib
import os
import re
import shlex
import subprocess
import sys
import types

import pytest

from fourdthinker.cli import main as entry
from fourdthinker.cli.main import COMMANDS, Command, main, parse_command
from fourdthinker.modeling.errors import InputError

HEAVY = ("torch", "transformers", "datasets", "trl", "pybullet", "pycolmap", "lmms_eval", "av", "numpy")


def make_command(**overrides) -> types.ModuleType:
    """A real command module in miniature."""
    module = types.ModuleType("fourdthinker.cli.paint")

    def add_arguments(parser):
        parser.add_argument("video")
        parser.add_argument("--output", required=True)
        parser.add_argument("--frame-size", type=int, default=56)
        parser.add_argument("--dry-run", action="store_true")
        parser.add_argument("--colours", nargs="+")
        parser.add_argument("--rule", choices=["a", "b"], default="a")
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--tiny", action="store_true")
        which.add_argument("--backbone")

    module.add_arguments = add_arguments
    module.run = lambda args: None
    vars(module).update(overrides)
    return module


@pytest.fixture
def paint(monkeypatch):
    """Install a miniature command as `fourdthinker paint`."""

    def install(run):
        monkeypatch.setitem(COMMANDS, "paint", Command("paint", "paint a frame"))
        monkeypatch.setitem(sys.modules, "fourdthinker.cli.paint", make_command(run=run))
        return ["paint", "clip.mp4", "--output", "out", "--tiny"]

    return install


@pytest.fixture
def config(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "paint.yaml"
        path.write_text(text)
        return str(path)

    return write


def parse(*argv, **overrides) -> argparse.Namespace:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(COMMANDS, "paint", Command("paint", "paint a frame"))
        return parse_command("paint", make_command(**overrides), argv)


def test_overview_lists_every_command(capsys, monkeypatch):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert all(f" {name} {command.summary}" in text for name, command in COMMANDS.items())
    monkeypatch.setenv("COLUMNS", "50")
    with pytest.raises(SystemExit):
        main(["--help"])
    indented = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert len(indented) > len(COMMANDS) and max(map(len, indented)) <= 50


@pytest.mark.parametrize("argv", [[], ["frobnicate"], ["--frobnicate"]])
def test_wrong_beginnings_end_in_one_line(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.count("\n") == 1 and error.startswith("fourdthinker: error: ")
    assert not argv or "frobnicate" in error


def test_version_is_the_installed_one(capsys):
    from importlib.metadata import version

    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"fourdthinker {version('fourdthinker')}\n"


def test_run_gets_the_arguments(paint):
    seen = []
    assert main(paint(seen.append)) == 0
    assert seen[0].video == "clip.mp4" and seen[0].output == "out" and seen[0].frame_size == 56


def test_input_errors_become_one_line_and_code_2(paint, capsys):
    def run(args):
        raise InputError(f"{args.video} has no video stream:\ngive another file")

    assert main(paint(run)) == 2
    streams = capsys.readouterr()
    assert streams.err == "fourdthinker: error: clip.mp4 has no video stream: give another file\n"
    assert streams.out == ""


@pytest.mark.parametrize("program", ["/usr/bin/fourdthinker", "/somewhere/cli/__main__.py"])
def test_an_interrupted_command_says_in_one_line_how_to_start_again(paint, capsys, monkeypatch, program):
    def run(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", [program])
    typed = "python -m fourdthinker.cli" if program.endswith(".py") else "fourdthinker"
    assert main([*paint(run), "--colours", "dark red"]) == 130
    assert capsys.readouterr().err == (
        "fourdthinker: interrupted; nothing was kept. "
        f"To start again: {typed} paint clip.mp4 --output out --tiny --colours 'dark red'\n"
    )


def test_of_several_interrupted_processes_one_speaks(paint, capsys, monkeypatch):
    def run(args):
        raise KeyboardInterrupt

    for rank, lines in (("0", ["fourdthinker: interrupted; nothing was kept. To start again, launch the same command "
                               "again"]), ("1", [])):  # fmt: skip
        monkeypatch.setenv("RANK", rank)
        assert main(paint(run)) == 130
        assert capsys.readouterr().err.splitlines() == lines


def test_defects_keep_their_traceback(paint):
    def run(args):
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        main(paint(run))


@pytest.mark.parametrize(
    ("module", "packages"), [("pybullet", ["pybullet"]), ("lmms_eval", ["lmms-eval", "filelock"])]
)
def test_a_missing_extra_is_installed_by_the_packages_that_it_lists(paint, capsys, module, packages):
    """This package itself is on no index, so an extra of it is not either."""

    def run(args):
        raise ModuleNotFoundError(f"No module named {module!r}", name=f"{module}.inner")

    assert main(paint(run)) == 2
    message, _, command = capsys.readouterr().err.partition(": pip install ")
    assert message == f"fourdthinker: error: {module} is not installed"
    installed = [re.match(r"[\w-]+", word)[0] for word in shlex.split(command)]
    assert set(packages) <= set(installed) and "fourdthinker" not in installed


@pytest.mark.parametrize("extra", sorted(set(entry.EXTRAS.values())))
def test_every_extra_that_is_named_lists_packages(extra):
    assert len(shlex.split(entry.install_hint(extra))) > 2


def test_the_package_says_its_version():
    from importlib.metadata import version

    from fourdthinker import modeling

    assert modeling.__version__ == version("fourdthinker") and "__version__" in dir(modeling)


def test_other_missing_modules_are_defects(paint):
    def run(args):
        raise ModuleNotFoundError("No module named 'nowhere'", name="nowhere")

    with pytest.raises(ModuleNotFoundError):
        main(paint(run))


@pytest.mark.parametrize("argv", [["--nope", "1"], ["--outp", "x"], ["--frame-size", "large"], []])
def test_wrong_options_take_one_line(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        parse("clip.mp4", "--tiny", *argv)
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.count("\n") == 1 and error.startswith("fourdthinker paint: error: ")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["ask", "clip.mp4", "Which way?", "--modle", "m"], "--modle: did you mean --model?"),
        (["ask", "clip.mp4", "Which way?", "--modle=m m"], "--modle: did you mean --model?"),
        (["ask", "clip.mp4", "-model", "m"], "-model: did you mean --model?"),
        (["init", "--tiny", "--otput", "o"], "--otput: did you mean --output?"),
        (["dift", "--modle", "m"], "--modle: did you mean --model?"),
        (["build-data", "--zzz"], "unrecognized argument --zzz (see "),
        (["ask", "clip.mp4", "Which way?"], "the following arguments are required: --model"),
        (["ask", "clip.mp4", "--shaped question", "-1", "--", "--modle"], "are required: --model"),
        (["ask", "clip.mp4", "Which way?", "third", "--model", "m"], "unrecognized arguments: third"),
    ],
)
def test_a_misspelled_option_is_named_although_a_required_one_is_missing(argv, words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1 and words in error


def test_help_is_given_although_an_option_is_misspelled(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["ask", "--modle", "m", "--help"])
    assert stop.value.code == 0 and "usage: fourdthinker ask" in capsys.readouterr().out


def test_file_fills_arguments_and_command_line_wins(config):
    path = config("video: a.mp4\noutput: from-file\nframe-size: 28\ndry_run: true\ncolours: [red, blue]\ntiny: true\n")
    args = parse("--config", path)
    assert (args.video, args.output, args.frame_size, args.dry_run) == ("a.mp4", "from-file", 28, True)
    assert args.colours == ["red", "blue"] and args.tiny
    args = parse("b.mp4", "--output=x", "--frame-size", "14", f"--config={path}")
    assert (args.video, args.output, args.frame_size, args.dry_run) == ("b.mp4", "x", 14, True)


def test_words_of_yaml_mean_what_the_argument_takes(config):
    path = config("video: no\noutput: off\ndry_run: yes\ncolours: [on, 1.10]\ntiny: on\nframe-size: null\n")
    args = parse("--config", path)
    assert (args.video, args.output, args.dry_run, args.tiny) == ("no", "off", True, True)
    assert args.colours == ["on", "1.10"] and args.frame_size == 56


def test_command_line_chooses_between_alternatives(config):
    path = config("video: a.mp4\noutput: out\nbackbone: qwen\n")
    assert parse("--config", path).backbone == "qwen"
    args = parse("--config", path, "--tiny")
    assert args.tiny and args.backbone is None


def test_required_arguments_are_still_required(config, capsys):
    with pytest.raises(SystemExit):
        parse("--config", config("video: a.mp4\ntiny: true\n"))
    assert "--output" in capsys.readouterr().err


def test_empty_values_and_files_leave_the_defaults(config):
    argv = ["a.mp4", "--output", "o", "--tiny", "--config"]
    assert parse(*argv, config("frame-size:\n")).frame_size == 56
    assert parse(*argv, config("# nothing yet\n")).frame_size == 56


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frame_sise: 28\n", r"unknown key 'frame_sise'; did you mean 'frame_size'\?"),
        ("zzzz: 28\n", "unknown key 'zzzz'; known keys: backbone, "),
        ("help: true\n", "unknown key 'help'"),
        ("config: other.yaml\n", "unknown key 'config'"),
        ("frame_size: large\n", "frame_size: invalid int value: 'large'"),
        ("frame_size: [1, 2]\n", "frame_size must be one value"),
        ("dry_run: 3\n", "dry_run must be true or false"),
        ("output: {a: b}\n", "put text in quotes"),
        ("rule: c\n", "invalid choice: 'c'"),
        ("colours: []\n", "must be a list"),
        ("output: [unclosed\n", "not valid YAML at line"),
        ("- a\n- b\n", "holds no arguments"),
        ("!!python/object/apply:os.getcwd []\n", "not valid YAML"),
    ],
)
def test_mistakes_in_the_file_name_file_and_key(config, text, message):
    path = config(text)
    with pytest.raises(InputError, match=message) as error:
        parse("a.mp4", "--output", "o", "--tiny", "--config", path)
    assert path in str(error.value) and "\n" not in str(error.value)


def test_a_file_has_a_byte_order_mark_or_none(tmp_path):
    path = tmp_path / "paint.yaml"
    path.write_bytes(b"\xef\xbb\xbfoutput: \xc3\xbc\n")
    assert parse("a.mp4", "--tiny", "--config", str(path)).output == "ü"


@pytest.mark.parametrize(("content", "line"), [(b"tiny: true\noutput: \xfc\n", 2), ("output: x".encode("utf-16"), 1)])
def test_a_file_that_is_not_utf8_is_named_with_its_line(tmp_path, content, line):
    path = tmp_path / "paint.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"paint\.yaml, line {line}: this is not UTF-8: save the file as UTF-8$"):
        parse("a.mp4", "--config", str(path))


def test_missing_config_file(tmp_path):
    with pytest.raises(InputError, match="No such file or directory"):
        parse("a.mp4", "--config", str(tmp_path / "none.yaml"))
    with pytest.raises(InputError, match="Is a directory"):
        parse("a.mp4", "--config", str(tmp_path))


def test_config_without_a_name(capsys):
    with pytest.raises(SystemExit) as stop:
        parse("a.mp4", "--config")
    assert stop.value.code == 2 and "--config" in capsys.readouterr().err


def test_commands_may_read_their_own_config(config):
    def add_arguments(parser):
        parser.add_argument("--config", required=True)

    args = parse("--config", config("learning_rate: 1e-4\n"), add_arguments=add_arguments, PARSES_CONFIG=True)
    assert args.config.endswith("paint.yaml")


@pytest.mark.parametrize("name", COMMANDS)
def test_command_module_keeps_the_contract(name):
    module = importlib.import_module(f"fourdthinker.cli.{COMMANDS[name].module}")
    assert COMMANDS[name].summary.strip() and "\n" not in COMMANDS[name].summary
    module.add_arguments(argparse.ArgumentParser())
    assert callable(module.run)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_is_quick_and_imports_nothing_heavy(name):
    # Processor time, not wall time: a busy machine must not fail it.
    code = f"""
import sys, time
from fourdthinker.cli.main import main
try:
    main({[name, "--help"] if name else ["--help"]})
except SystemExit as stop:
    assert stop.code == 0
heavy = sorted(set({HEAVY}) & set(sys.modules))
assert not heavy, heavy
assert time.process_time() < 3, time.process_time()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: fourdthinker {name}".rstrip())


def test_installed_command_runs(tmp_path):
    """The console script itself, from a folder that is not the checkout."""
    script = os.path.join(os.path.dirname(sys.executable), "fourdthinker")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0 and done.stdout.startswith("fourdthinker ")
    done = subprocess.run([script, "tasks-dir", "--nope"], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_module_form_for_launchers(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "fourdthinker.cli", "--version"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert done.returncode == 0 and done.stdout.startswith(f"{entry.overview_parser().prog} ")
