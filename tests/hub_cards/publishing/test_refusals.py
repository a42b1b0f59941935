"""What is not published, and the line that says why: nothing here asks the Hub anything."""

import bz2
import gzip
import json
import lzma
import os
import pickle
import sys
from pathlib import Path

import pytest

from fourdthinker.hub_cards import dataset_card
from fourdthinker.hub_cards.publishing.findings import find_place, find_secret
from fourdthinker.hub_cards.publishing.folder import find_files, hash_files
from fourdthinker.hub_cards.publishing.preparation import point_card, prepare_files
from fourdthinker.hub_cards.publishing.publish import publish_folder
from fourdthinker.hub_cards.publishing.record import record_path
from fourdthinker.hub_cards.publishing.refusals import find_faults
from fourdthinker.modeling.errors import InputError

from .conftest import CARD, safetensors

TOKEN = "hf_" + "a1B2" * 9


def faults(folder, kind="model"):
    """Name and text of what is found."""
    found = prepare_files(find_files(folder), "me/tiny", None)
    return [(fault.name, str(fault)) for fault in find_faults(found, kind)]


def only(folder, kind="model"):
    """The one thing that is found."""
    found = faults(folder, kind)
    assert len(found) == 1, found
    return found[0]


def test_a_sound_folder_passes(model_folder):
    assert faults(model_folder) == []


@pytest.mark.parametrize("ending", ["bin", "pt", "pth", "pkl", "pickle", "ckpt", "joblib", "BIN"])
def test_pickles(model_folder, ending):
    (model_folder / f"assets/state.{ending}").write_bytes(b"x")
    name, text = only(model_folder)
    assert name == f"assets/state.{ending}" and "pickle" in text and f"delete {model_folder}" in text


def test_settings_of_a_training(model_folder):
    (model_folder / "training_args.bin").write_bytes(b"x")
    assert "training_args.bin is a pickle, the settings of a training: delete" in only(model_folder)[1]


@pytest.mark.parametrize("name", [".env", ".env.local", "prod.env", ".netrc", "id_rsa"])
def test_files_of_secrets(model_folder, name):
    (model_folder / name).write_text("x")
    assert only(model_folder)[0] == name


def test_links(model_folder, tmp_path):
    (model_folder / "other.json").symlink_to(model_folder / "config.json")
    (model_folder / "places").symlink_to(tmp_path)
    assert [name for name, _ in faults(model_folder)] == ["other.json", "places"]


@pytest.mark.parametrize(
    "secret",
    [
        TOKEN,
        "sk-" + "a1" * 12,
        "AKIA" + "ABCD" * 4,
        "ghp_" + "a1B2" * 9,
        "-----BEGIN RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----",
    ],
    ids=["hub", "openai", "aws", "github", "rsa", "key"],
)
def test_secrets(model_folder, secret):
    (model_folder / "notes.txt").write_text(f"key: {secret}\n")
    name, text = only(model_folder)
    assert name == "notes.txt:secret" and "token or a private key" in text and secret[8:] not in text


def test_a_secret_across_pieces_of_a_long_file(model_folder):
    filler = "x " * (1 << 19)
    (model_folder / "long.txt").write_text(filler[:-10] + TOKEN + filler)
    assert only(model_folder)[0] == "long.txt:secret"


def parquet(text):
    """A compressed file of rows, the text in a record in a list beside a picture."""
    import pyarrow
    from pyarrow import parquet as files

    rows = [{"id": str(number), "turns": [{"text": f"see {text}" * (number == 7)}]} for number in range(9)]
    table = pyarrow.table(
        {"rows": rows, "picture": [{"bytes": b"\x89PNG\0", "path": None}] * 9},
    )
    buffer = pyarrow.BufferOutputStream()
    files.write_table(table, buffer, compression="zstd", write_statistics=False)
    return buffer.getvalue().to_pybytes()


@pytest.mark.parametrize("text,name", [(TOKEN, "notes:secret"), ("/home/someone/run", "notes")], ids=["token", "path"])
@pytest.mark.parametrize(
    "store",
    [
        lambda text: ("\u6148" + text).encode("utf-16"),
        lambda text: ("key " + text).encode("utf-16-be"),
        lambda text: ("key " + text).encode("utf-16-le"),
        lambda text: text.encode("utf-32"),
        lambda text: gzip.compress(f"key {text}".encode()),
        lambda text: bz2.compress(f"key {text}".encode()),
        lambda text: lzma.compress(f"key {text} {'x' * 500}".encode()),
        parquet,
    ],
    ids=["utf-16", "utf-16-be", "utf-16-le", "utf-32", "gzip", "bz2", "xz", "parquet"],
)
def test_text_is_found_however_it_is_stored(model_folder, store, text, name):
    (model_folder / "notes").write_bytes(store(text))
    assert only(model_folder)[0] == name
    (model_folder / "notes").write_bytes(store("nothing"))
    assert faults(model_folder) == []


@pytest.mark.parametrize(
    "content", [b"\x1f\x8bno gzip", b"PAR1 no parquet", b"\xff\xfe\0", b"\0" * 100, b"BZh9", b"\0"]
)
def test_what_only_looks_like_text_is_no_fault(model_folder, content):
    (model_folder / "notes").write_bytes(content)
    assert faults(model_folder) == []


PLACES = ("/home/someone/data", "/root/.cache", "/Users/me/x", "/tmp/abc", r"C:\Users\me", r"C:\\Users\\me", "/mnt/a")
PLACES += (
    "file:///home/me/x",
    "/usr/bin:/home/me/bin",
    "at:/tmp/x",
    "/home/\u00e9lodie",
    r"/home/\u00e9lodie",
    "C:/Users/me",
    "/data/me",
    "/data2/me",
    "/pscratch/me",
    "/Volumes/disk",
)


@pytest.mark.parametrize("place", PLACES)
def test_paths_of_a_machine(model_folder, place):
    (model_folder / "log.txt").write_text(f'{{"path": "{place}"}}', encoding="utf-8")
    assert "names a path of this machine" in only(model_folder)[1]


@pytest.mark.parametrize(
    "text",
    ["https://host.org/home/page", "see ~/tmp/x", "a/home/b", "/usr/bin/env", "or/tmp/", "/homework", "file:///root"],
)
def test_what_is_no_path_of_a_machine(text):
    assert find_place(text.encode()) is None


def test_where_the_user_works_is_a_path_of_a_machine(model_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/export/people/someone")
    (model_folder / "log.json").write_text('"/export/people/someone/data"')
    assert "(/export/people/someone)" in only(model_folder)[1]


def test_words_of_a_vocabulary_are_no_paths(model_folder, monkeypatch):
    monkeypatch.setenv("HOME", "/export/people/someone")
    (model_folder / "tokenizer.json").write_text('{"/home/user": 0, "/tmp/x": 1}')
    assert faults(model_folder) == []
    (model_folder / "tokenizer.json").write_text('{"from": "/export/people/someone/run"}')
    assert only(model_folder)[0] == "tokenizer.json"


def test_what_is_no_secret():
    for text in (b"hf_hub_download", b"task-" + b"a1" * 12, b"hf_" + b"short", b"tokens: sk-learn"):
        assert find_secret(text) is None, text


def test_the_card_that_a_build_writes_is_one_that_the_hub_takes(tmp_path):
    card = dataset_card({"dift": {"train": "x.parquet"}}, {"dift": {"train": 3}}, license="cc-by-4.0")
    card.save(tmp_path / "README.md")
    (tmp_path / "x.parquet").write_bytes(b"x")
    assert faults(tmp_path, "dataset") == []


@pytest.mark.parametrize("kind", ["dataset", "space"])
def test_a_model_that_is_published_as_something_else(model_folder, kind):
    assert (
        "config.json belongs to a model, and this is to be a " + kind + ": publish it as a model"
        in faults(model_folder, kind)[0][1]
    )


def test_weights_that_are_not_safetensors(model_folder):
    (model_folder / "model.h5").write_bytes(b"x")
    assert only(model_folder)[0] == "model.h5"


def test_no_weights_and_no_configuration(model_folder):
    (model_folder / "model.safetensors").unlink()
    (model_folder / "config.json").unlink()
    assert [name for name, _ in faults(model_folder)] == ["config.json"]


def test_a_shard_that_is_missing(model_folder):
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (model_folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "names model-2.safetensors, which is not there" in only(model_folder)[1]


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x", lambda data: data[:5]])
def test_weights_that_are_cut_off(model_folder, change):
    file = model_folder / "model.safetensors"
    file.write_bytes(change(file.read_bytes()))
    assert only(model_folder)[0] == "model.safetensors"


def test_a_path_in_the_header_of_weights(model_folder):
    (model_folder / "model.safetensors").write_bytes(safetensors(source="/home/someone/run"))
    assert "/home/someone" in only(model_folder)[1]


@pytest.mark.parametrize(
    "reference,words",
    [
        ("modeling_gone.Tiny", "modeling_gone.py, which is not there"),
        ("modeling_tiny.Other", "names Other, which modeling_tiny.py does not have"),
        ("org/code--modeling_tiny.Tiny", "another repository"),
    ],
)
def test_code_that_is_not_there(model_folder, reference, words):
    (model_folder / "config.json").write_text(json.dumps({"auto_map": {"AutoModel": reference}}))
    assert words in only(model_folder)[1]


@pytest.mark.parametrize(
    "code,words",
    [
        ("import fourdthinker.modeling\n", "which others do not have"),
        ("import not_a_package_of_anybody\n", "not installed"),
        ("from .gone import x\n", "gone.py, which is not there"),
        ("class\n", "is no Python code"),
    ],
)
def test_code_that_does_not_run(model_folder, code, words):
    (model_folder / "extra.py").write_text(code)
    name, text = only(model_folder)
    assert name == "extra.py" and words in text


def test_code_that_may_be_missing(model_folder):
    code = "try:\n    import not_a_package\nexcept ImportError:\n    pass\nif is_x_available():\n    import neither\n"
    (model_folder / "extra.py").write_text(code)
    assert faults(model_folder) == []


def test_code_that_replaces_generate(model_folder):
    (model_folder / "custom_generate").mkdir()
    (model_folder / "custom_generate/generate.py").write_text("def generate(): pass\n")
    assert "replaces `generate`" in only(model_folder)[1]


def test_a_base_model_that_nobody_else_has(model_folder):
    (model_folder / "adapter_config.json").write_text('{"base_model_name_or_path": "./dift"}')
    assert "is none of the Hub (./dift)" in only(model_folder)[1]
    (model_folder / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    assert faults(model_folder) == []


HEADERS = {
    "no header": ("# Tiny\n", "no header"),
    "no YAML": ("---\na: [\n---\n", "no YAML"),
    "no mapping": ("---\n- a\n---\n", "no names"),
    "no licence": ("---\ntags: [a]\n---\n", "no `license`"),
    "unknown licence": ("---\nlicense: qwen-research\n---\n", "none that the Hub knows"),
    "other without link": ("---\nlicense: other\nlicense_name: mine\n---\n", "no name or link"),
    "base model": ("---\nlicense: mit\nbase_model: my own model\n---\n", "no id on the Hub"),
    "datasets": ("---\nlicense: mit\ndatasets: [../data]\n---\n", "no id on the Hub"),
    "datasets no list": ("---\nlicense: mit\ndatasets: a/b\n---\n", "no list"),
    "relation": ("---\nlicense: mit\nbase_model_relation: child\n---\n", "`base_model_relation`"),
    "model-index": ("---\nlicense: mit\nmodel-index:\n- name: a\n  results: [{task: {type: a}}]\n---\n", "complete"),
}


@pytest.mark.parametrize("text,words", HEADERS.values(), ids=HEADERS)
def test_cards_that_the_hub_rejects(model_folder, text, words):
    (model_folder / "README.md").write_text(text)
    name, line = only(model_folder)
    assert name == "README.md" and words in line


def test_a_model_without_card(model_folder):
    (model_folder / "README.md").unlink()
    assert only(model_folder)[0] == "README.md"


def test_a_dataset_card_that_names_files_which_are_not_there(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.jsonl").write_text("{}\n")
    configs = (
        "configs:\n- config_name: a\n  data_files: [{split: train, path: a*.jsonl}, {split: test, path: b.jsonl}]\n"
    )
    (folder / "README.md").write_text(f"---\nlicense: mit\n{configs}---\n")
    assert "a names b.jsonl, which is not there" in only(folder, "dataset")[1]


def test_a_space_without_application(tmp_path):
    folder = tmp_path / "space"
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: mit\nsdk: gradio\n---\n")
    assert "app.py, which is not there" in only(folder, "space")[1]
    (folder / "app.py").write_text("import anything_that_the_space_installs\n")
    assert faults(folder, "space") == []


@pytest.mark.parametrize("source", ["SpatialVID/SpatialVID-HQ", "me/spatialvid-rows"])
def test_a_licence_that_the_sources_do_not_allow(model_folder, source):
    card = "---\nlicense: {}\ndatasets: [{}]\n---\n"
    (model_folder / "README.md").write_text(card.format("apache-2.0", source))
    name, text = only(model_folder)
    assert name == "licence" and "cc-by-nc-sa-4.0" in text
    (model_folder / "README.md").write_text(card.format("cc-by-nc-sa-4.0", source))
    assert faults(model_folder) == []


def test_a_licence_that_the_rows_do_not_allow(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    folder = tmp_path / "data"
    folder.mkdir()
    rows = pyarrow.table({"facts": [json.dumps({"licence": "cc-by-nc-4.0"}), "{}"]})
    parquet.write_table(rows, folder / "a.parquet")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    name, text = only(folder, "dataset")
    assert name == "licence" and "a.parquet" in text and "commercial" in text
    (folder / "README.md").write_text("---\nlicense: [mit, cc-by-nc-4.0]\n---\n")
    assert faults(folder, "dataset") == []


def test_a_licence_that_the_training_data_do_not_allow(model_folder):
    data = {"name": "rows", "licences": ["cc-by-nc-sa-4.0"]}
    (model_folder / "lineage.json").write_text(json.dumps({"stages": [{"name": "DIFT", "data": [data]}]}))
    assert only(model_folder)[0] == "licence"


@pytest.mark.parametrize(
    "options,words",
    [
        ({"repo_id": "tiny"}, "no owner"),
        ({"repo_id": "me/a b"}, "no name of a repository"),
        ({"tag": "v 1"}, "a tag is"),
        ({"max_size": 10}, "--max-size"),
        ({"allow": ["x"]}, "nothing was found there"),
        ({"folder": "nowhere"}, "there is no such folder"),
    ],
)
def test_what_is_asked_for_wrongly(model_folder, options, words):
    options = {"folder": model_folder, "repo_id": "me/tiny", "report": print, **options}
    with pytest.raises(InputError, match=words.replace("-", "[-]")):
        publish_folder(kind="model", **options)


def test_an_empty_folder(tmp_path):
    with pytest.raises(InputError, match="there is nothing in it"):
        find_files(Path(tmp_path))


def test_code_of_a_card_gets_the_repository_and_the_revision():
    card = CARD + '```python\nrows = load_dataset(\n    ".", "dift",\n)\nmore = load_dataset("other/data")\n```\n'
    pointed = point_card(card, "me/data", "v1")
    assert 'load_dataset(\n    "me/data", "dift",\nrevision="v1")' in pointed and '"other/data"' in pointed
    assert point_card(pointed, "me/data", "v2") == pointed.replace("v1", "v2")
    assert point_card(CARD, "me/data", "v1") == CARD


def test_letting_a_path_pass_lets_no_token_pass(model_folder):
    (model_folder / "notes.txt").write_text(f"/home/someone/x {TOKEN}")
    with pytest.raises(InputError, match="notes.txt:secret holds what looks like a token"):
        publish_folder(model_folder, "me/tiny", "model", dry_run=True, allow=["notes.txt"])


def test_a_file_that_changes_between_the_check_and_the_hashes_is_not_sent(model_folder, tmp_path):
    found = find_files(model_folder)
    (model_folder / "config.json").write_text(f"{TOKEN}")
    with pytest.raises(InputError, match="config.json was changed while it was checked"):
        hash_files(found)


def test_a_link_in_the_place_of_a_file_that_was_checked_is_not_followed(model_folder, tmp_path):
    found = hash_files(find_files(model_folder))
    other = tmp_path / "other.json"
    (model_folder / "config.json").rename(other)
    (model_folder / "config.json").symlink_to(other)
    assert found.files["config.json"].has_changed()
    with pytest.raises(InputError, match="config.json was changed"):
        hash_files(found)


def test_what_is_no_file(model_folder):
    os.mkfifo(model_folder / "pipe")
    assert "pipe is neither a file nor a folder: delete" in only(model_folder)[1]


def test_pickles_by_their_content(model_folder):
    (model_folder / "state.dat").write_bytes(pickle.dumps({"a": [1, 2]}))
    (model_folder / "weights").write_bytes(b"PK\x03\x04" + b"\0" * 26 + b"archive/data.pkl")
    assert [name for name, _ in faults(model_folder)] == ["state.dat", "weights"]


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer_config.json", "adapter_config.json", "model.safetensors.index.json"]
)
def test_json_that_is_nested_too_deeply(model_folder, name):
    (model_folder / name).write_text(DEEP)
    assert faults(model_folder)[0][0] == name


@pytest.mark.parametrize("code", ["x = " + "-" * 20_000 + "1", "x = " + "+".join(["1"] * 20_000), "x = 1\0"])
def test_code_that_cannot_be_parsed(model_folder, code):
    (model_folder / "deep.py").write_text(code)
    with (model_folder / "README.md").open("a") as card:
        card.write(f"```python\n{code}\n```\n")
    name, text = only(model_folder)
    assert name == "deep.py" and "is no Python code" in text


def test_code_that_imports_main(model_folder, monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)  # as where a command runs
    (model_folder / "odd.py").write_text("import __main__\n")
    assert "imports __main__, which is not installed here" in only(model_folder)[1]


@pytest.mark.medium
@pytest.mark.parametrize(
    "line,kind,fault",
    [
        (f"base_model: {'a' * 300}", "model", "is no id on the Hub"),
        (f"x: {'[' * 5000}{']' * 5000}", "model", "nested too deeply"),
        ("sdk: gradio\napp_file: [app.py]", "space", "which is not there"),
    ],
    ids=["long", "deep", "list"],
)
def test_headers_of_odd_values(model_folder, line, kind, fault):
    fault = fault.replace("is no id", "which is no id")
    (model_folder / "README.md").write_text(f"---\nlicense: apache-2.0\n{line}\n---\n")
    assert any(fault in words for _, words in faults(model_folder, kind))


@pytest.mark.parametrize("tag", ["v1..2", "main", "-v1", "v1.lock", "a b"])
def test_tags_that_git_refuses(model_folder, tag):
    with pytest.raises(InputError, match="a tag is letters"):
        publish_folder(model_folder, "me/tiny", "model", dry_run=True, tag=tag)


def test_the_record_is_never_in_the_folder(tmp_path):
    (tmp_path / "model/assets").mkdir(parents=True)
    assert record_path(tmp_path / "model/assets/..") == tmp_path / "publish.json"


OUTSIDE = ("/var/lib/a.png", "../a.png", "images/../../a.png", r"..\a.png", r"D:\a.png", "file:///srv/a.png")


def dataset(folder):
    folder.mkdir()
    (folder / "README.md").write_text(CARD)
    return folder


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize(
    "row", [lambda p: {"image": p}, lambda p: {"videos": [p]}, lambda p: {"images": [{"path": p}]}]
)
def test_lines_that_name_a_file_outside(tmp_path, path, row):
    folder = dataset(tmp_path / "rows")
    lines = [row("images/a.png"), row("a..b.png"), row(path)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "names in line 3 a file outside of the folder" in only(folder, "dataset")[1]


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("wrap", [lambda p: p, lambda p: [{"bytes": b"x", "path": p}], lambda p: {"path": p}])
def test_parquet_rows_that_name_a_file_outside(tmp_path, path, wrap):
    pyarrow = pytest.importorskip("pyarrow")
    folder = dataset(tmp_path / "rows")
    table = pyarrow.table({"images": [wrap("a.png"), wrap(path)], "question": ["/a", "../b"]})
    pytest.importorskip("pyarrow.parquet").write_table(table, folder / "rows.parquet")
    assert "names in row 2 a file outside of the folder" in only(folder, "dataset")[1]
