"""Data sets of the hub: from its cache as it lies there, else from the hub; what is taken is said, a guess is not made."""

import json
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import RepositoryNotFoundError

from mlx_trace.errors import UserError
from mlx_trace.problems import hub_data
from mlx_trace.problems.hub_data import data_files, is_hub_data
from mlx_trace.problems.rows import read_rows

Out = pytest.CaptureFixture[str]
GSM = ["main/train-00000-of-00001.jsonl", "main/test-00000-of-00001.jsonl", "socratic/train-00000-of-00001.jsonl",
       "socratic/test-00000-of-00001.jsonl"]  # fmt: skip


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and a hub that is switched off."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    data_files.cache_clear()
    yield tmp_path / "hub"
    data_files.cache_clear()


def put(root: Path, name: str, files: list[str]) -> Path:
    """Put a data set into a hub's cache as the hub's client lays it out: each file has one row, its own name."""
    repository = root / f"datasets--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc123")
    for file in files:
        path = repository / "snapshots" / "abc123" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"question": file}) + "\n")
    return repository / "snapshots" / "abc123"


def rows(name: str) -> list[str]:
    return [row["question"] for _, row, _ in read_rows(Path(name)) if row]


@pytest.mark.parametrize(
    ("name", "files", "taken"),
    [("owner/gsm", GSM, GSM[:1]), ("owner/gsm/main", GSM, GSM[:1]), ("owner/gsm/main/test", GSM, GSM[1:2]),
     ("owner/gsm/socratic", GSM, GSM[2:3]),
     ("owner/set", ["README.md", "data/test.csv", "data/train.jsonl"], ["data/train.jsonl"]),
     ("owner/set/test", ["data/test.jsonl", "data/train.jsonl"], ["data/test.jsonl"]),
     ("owner/set", ["problems.jsonl", "dataset_infos.json"], ["problems.jsonl"]),
     ("owner/set", ["train-00001-of-00002.jsonl", "train-00000-of-00002.jsonl"],
      ["train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl"])],
)  # fmt: skip
def test_what_a_name_means(hub: Path, capsys: Out, name: str, files: list[str], taken: list[str]) -> None:
    put(hub, "/".join(name.split("/")[:2]), files)
    assert rows(name) == taken
    assert f"{name}: {', '.join(taken)}" in capsys.readouterr().err
    assert rows(name) == taken
    assert capsys.readouterr().err == ""  # said once


@pytest.mark.parametrize(
    ("name", "files", "said"),
    [("owner/set", ["a/train.jsonl", "b/train.jsonl"], "name one of owner/set/a/train, owner/set/b/train"),
     ("owner/set/b/dev", ["a/train.jsonl"], "owner/set has no b/dev; it has owner/set/a/train"),
     ("owner/set", ["train-00000-of-00003.jsonl"], "owner/set/train: 1 of 3 files are there"),
     ("owner/set", ["test.jsonl", "dev.jsonl"], "has no training split; name one of owner/set/dev, owner/set/test"),
     ("owner/set", ["README.md"], ""), ("owner/other", [], "no such file or directory, and no data")],
)  # fmt: skip
def test_what_is_no_one_thing_is_refused(
    hub: Path, monkeypatch: pytest.MonkeyPatch, name: str, files: list[str], said: str
) -> None:
    listed = ["README.md", *files] if files else []
    monkeypatch.setattr(hub_data, "_on_hub", lambda _: (hub_data._readable(listed), "is asked by a test"))
    put(hub, "owner/set", files)
    with pytest.raises(UserError, match=said or "the hub is asked by a test"):
        data_files(name)


def test_what_the_cache_lacks_comes_from_the_hub(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = put(hub, "owner/gsm", GSM[1:2])  # the test split alone
    asked: list[str] = []

    class Api:
        def list_repo_files(self, name: str, repo_type: str) -> list[str]:
            asked.append(f"{repo_type} {name}")
            return [".gitattributes", "README.md", *GSM]

    def download(name: str, file: str, repo_type: str) -> str:
        asked.append(f"{repo_type} {name} {file}")
        (folder / file).write_text(json.dumps({"question": "fetched"}) + "\n")
        return str(folder / file)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert rows("owner/gsm/main") == ["fetched"]
    assert asked == ["dataset owner/gsm", f"dataset owner/gsm {GSM[0]}"]


@pytest.mark.parametrize(
    ("failure", "said"),
    [(TimeoutError(), "the hub does not answer"), (OSError("no route"), r"cannot be reached \(no route\)"),
     (RepositoryNotFoundError.__new__(RepositoryNotFoundError), "the hub knows none; a private one needs")],
)  # fmt: skip
def test_a_hub_that_fails_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch, failure: Exception, said: str) -> None:
    class Api:
        def list_repo_files(self, name: str, repo_type: str) -> list[str]:
            raise failure

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    with pytest.raises(UserError, match=f"^owner/gsm: no such file or directory.*{said}"):
        read_rows(Path("owner/gsm"))


def test_what_lies_here_is_no_name_of_the_hub(tmp_path: Path) -> None:
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner" / "rows").write_text("{}\n")
    assert not is_hub_data(Path("owner/rows"))
    assert is_hub_data(Path("owner/others"))
    for name in ("train.jsonl", "data/train.jsonl", "/a/b", "../data/set", "~/set", "owner", "a b/c"):
        assert not is_hub_data(Path(name)), name
