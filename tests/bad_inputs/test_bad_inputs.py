"""Whatever is typed or lies about: each case of the tables is told in a line, with an exit code, and nothing is lost."""

import re
import shlex
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from mlx_trace.cli.main import COMMANDS, main
from tests.bad_inputs.case import LONGEST, Came, Case, Ground, is_plain, limited, prepare, state_of
from tests.bad_inputs.data import DATA
from tests.bad_inputs.flags import FLAGS
from tests.bad_inputs.models import MODELS
from tests.bad_inputs.runs import RUNS
from tests.conftest import byte_level_tokenizer, write_model
from tests.model.test_base import make_adapter

CASES = [*FLAGS, *DATA, *MODELS, *RUNS]


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A sound model, and a sound run of it."""
    folder = tmp_path_factory.mktemp("sound")
    model = write_model(folder / "model", byte_level_tokenizer(), max_position_embeddings=4096)
    make_adapter(model, folder / "run")
    return model, folder / "run"


@pytest.fixture
def ground(sound: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """An empty folder to be in, with a neighbour that nothing may touch."""
    (tmp_path / "neighbour").mkdir()
    (tmp_path / "neighbour" / "photo.jpg").write_bytes(b"mine")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Ground(tmp_path / "here", *sound)


def called(case: Case, ground: Ground, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Came:
    """Do what a case says, in this process."""
    words = shlex.split(case.command) if isinstance(case.command, str) else case.command
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(case.stdin), encoding="utf-8"))
    capfd.readouterr()
    with limited(LONGEST):
        try:
            code = main(
                [word.replace("{model}", str(ground.model)).replace("{run}", str(ground.run)) for word in words]
            )
        except SystemExit as end:
            code = int(end.code or 0)
    return Came(code, *capfd.readouterr())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_is_a_line_and_costs_nothing(
    case: Case, ground: Ground, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(case, ground)
    before, sound = state_of(ground.folder.parent), {**state_of(ground.model), **state_of(ground.run)}
    came = called(case, ground, capfd, monkeypatch)
    assert re.search(case.said, came.err), came.err
    assert (came.code, "Traceback" in came.err) == (case.code, False), came.err
    assert re.search(case.out, came.out) if case.out else not came.out, came.out
    assert is_plain(came.out) and is_plain(came.err)
    told = [line for line in came.err.splitlines() if not line.startswith(("  ", "(`mlx-trace"))]
    assert case.lines is None or len(told) == case.lines, came.err
    assert all(line.startswith("mlx-trace") for line in told), came.err
    after = state_of(ground.folder.parent)
    assert {name: after.get(name) for name in before} == before, "something that was there has changed"
    new = {name.removeprefix("here/") for name in set(after) - set(before)}
    assert all(name.startswith(tuple(case.leaves)) for name in new) if case.leaves else not new, new
    assert {**state_of(ground.model), **state_of(ground.run)} == sound


def test_there_are_cases_of_every_command_and_none_twice() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 120
    first = {shlex.split(case.command)[0] if isinstance(case.command, str) else case.command[0] for case in CASES}
    assert set(COMMANDS) <= first
