"""The browser that pages are tried in: any Chromium of this machine, driven by Playwright; or why there is none."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ON_A_MAC = [Path("/Applications") / f"{name}.app/Contents/MacOS/{name}"
             for name in ("Google Chrome", "Chromium", "Microsoft Edge")]  # fmt: skip


def find_browser() -> str | None:
    """Return the path of a Chromium, if there is one."""
    found = [path for name in _NAMES if (path := shutil.which(name))]
    return next(iter([*found, *(str(path) for path in _ON_A_MAC if path.exists())]), None)


@contextmanager
def browser() -> Iterator[Any]:
    """Start the browser; the test is skipped, by name, without one."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: make test WITH=interop installs it")
    path = find_browser()
    if path is None:
        pytest.skip("no Chromium is on this machine: make browser installs one, with root's rights on Debian")
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []  # root may not use the sandbox
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=[*flags, "--disable-gpu"])
        yield started
        started.close()
