"""Nothing is written over what is read, by whatever name, and a place that cannot be had is told at once."""

from pathlib import Path

import pytest

from mlx_trace.destination import check_apart
from mlx_trace.errors import UserError
from mlx_trace.folders import check_free


def test_what_is_read_is_known_by_every_name_it_has(tmp_path: Path) -> None:
    (tmp_path / "run" / "best").mkdir(parents=True)
    read, other = tmp_path / "run" / "best" / "a", tmp_path / "other"
    for file in (read, other):
        file.write_text("mine", encoding="utf-8")
    (tmp_path / "link").symlink_to(read)
    (tmp_path / "hard").hardlink_to(read)
    for name in (read, tmp_path / "link", tmp_path / "hard", tmp_path / "run" / ".." / "run" / "best" / "a"):
        with pytest.raises(UserError, match="is read, and cannot be written to, too"):
            check_apart(name, [tmp_path / "absent", read])
    with pytest.raises(UserError, match="is read"):
        check_apart(tmp_path / "link", [tmp_path / "run"])
    for free in (other, tmp_path / "run" / "new", Path("/dev/null")):
        check_apart(free, [read, tmp_path / "run"])


@pytest.mark.parametrize("name", ["file", "full", "file/x", "/proc/x", "a" * 300])
def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    (tmp_path / "full" / "x").mkdir(parents=True)
    with pytest.raises(UserError):
        check_free(tmp_path / name)
    (tmp_path / "empty").mkdir()
    for free in ("empty", "new", "new/below"):
        check_free(tmp_path / free)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "full"]
