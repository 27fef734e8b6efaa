"""What comes with the package is found from any folder, behind what the folder has itself."""

from pathlib import Path

import pytest

from mlx_trace.resources import adapter_at, adapters_dir


def test_a_bundled_adapter_is_found_by_its_place_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = Path("adapters/tiny")
    assert adapter_at(tiny) == adapters_dir() / "tiny"
    for path in (Path("adapters/none-such"), Path("tiny"), tmp_path / tiny, Path("other/adapters/tiny")):
        assert adapter_at(path) == path
    tiny.mkdir(parents=True)
    assert adapter_at(tiny) == tiny, "what is here goes before"
