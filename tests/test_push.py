"""Adapters and models go to the hub whole, with a card, and nothing else does: least of all a token or a path.

The hub is one of our own, over HTTP, with what its API answers.
"""

import base64
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from huggingface_hub import HfApi, close_session, constants

from mlx_trace.card import LICENCES, MADE, origin_of
from mlx_trace.cli.main import main
from mlx_trace.model.named import NAMED, TINY
from mlx_trace.push import form_of, redacted, upload_files

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the client's uploads
Out = pytest.CaptureFixture[str]
TOKEN = "hf_ThisIsNoRealToken1234567890"
REPOSITORY = "someone/traces"
OWN_CARD = "# Mine\n\nWritten by hand.\n"


class Hub(ThreadingHTTPServer):
    """A hub that keeps what is committed, and fails where it is told to: `failures` has a status for a path's part."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.large: dict[str, bytes] = {}
        self.failures: dict[str, int] = {}
        self.requests: list[str] = []
        self.bodies: list[bytes] = []
        self.commits = 0


class Answer(BaseHTTPRequestHandler):
    """One request to the hub."""

    server: Hub

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def give(self, status: int, content: Any, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body)), "Content-Type": "application/json"} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def take(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        self.server.requests.append(f"{self.command} {self.path}")
        self.server.bodies.append(body)
        return body

    def failed(self) -> bool:
        status = next((status for part, status in self.server.failures.items() if part in self.path), None)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}" and "/lfs/" not in self.path:
            status = 401
        if status is not None:  # a hub that would even repeat the token
            self.give(status, {"error": f"no: {TOKEN}"}, X_Error_Message=f"no: {TOKEN}")
        return status is not None

    def do_GET(self) -> None:
        self.take()
        if self.failed():
            return
        name = self.path.partition("/api/models/")[2] or "/".join(self.path.split("/")[1:3])
        files = self.server.repositories.get(name)
        if files is None:
            self.give(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
        elif "/resolve/" in self.path:
            file = self.path.rpartition("/")[2]
            self.give(200, files[file], ETag=f'"{len(files[file])}"', X_Repo_Commit="0" * 40)
        else:
            listed = [{"rfilename": file} for file in files]
            self.give(200, {"id": name, "private": self.server.private[name], "siblings": listed, "tags": []})

    do_HEAD = do_GET  # noqa: N815 as http.server calls it

    def do_PUT(self) -> None:
        self.server.large[self.path.rpartition("/")[2]] = self.take()
        self.give(200, {})

    def do_POST(self) -> None:
        body = self.take()
        if not self.failed():
            kind = self.path.split("?")[0].removesuffix("/main").rpartition("/")[2]
            getattr(self, f"post_{kind.replace('-', '_')}")(body)

    def post_create(self, body: bytes) -> None:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        known = name in self.server.repositories
        if not known:
            self.server.repositories[name] = {".gitattributes": b""}
            self.server.private[name] = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.give(409 if known else 200, {"url": f"{self.server.address}/{name}", "error": "You already created it"})

    def post_validate_yaml(self, body: bytes) -> None:
        self.give(200, {"errors": [], "warnings": []})

    def post_preupload(self, body: bytes) -> None:
        modes = [{"path": file["path"], "shouldIgnore": False,
                  "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular"}
                 for file in json.loads(body)["files"]]  # fmt: skip
        self.give(200, {"files": modes})

    def post_batch(self, body: bytes) -> None:
        objects = [{"oid": one["oid"], "size": one["size"], "authenticated": True,
                    "actions": {"upload": {"href": f"{self.server.address}/lfs/{one['oid']}"}}}
                   for one in json.loads(body)["objects"]]  # fmt: skip
        self.give(200, {"transfer": "basic", "objects": objects}, Content_Type="application/vnd.git-lfs+json")

    def post_commit(self, body: bytes) -> None:
        files = self.server.repositories["/".join(self.path.split("/")[3:5])]
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "lfsFile":
                files[line["value"]["path"]] = self.server.large[line["value"]["oid"]]
        self.server.commits += 1
        self.give(200, {"commitOid": "0" * 40, "commitUrl": f"{self.server.address}/x/y/commit/0", "hookOutput": ""})


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that the client is led to, with a token for it."""
    with Hub() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        close_session()  # what it had open leads to another hub
        yield server
        close_session()
        server.shutdown()
        thread.join()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder, with what is not to go, paths of a machine, and a token where somebody wrote one."""
    run = tmp_path / "run"
    (run / "state" / "0000001").mkdir(parents=True)
    (run / "best").mkdir()
    for name in ("state/0000001/adapter.safetensors", "best/adapters.safetensors", "samples.jsonl", ".env", "notes.txt",
                 "plan.json", "records.jsonl"):  # fmt: skip
        (run / name).write_text("not to go", encoding="utf-8")
    lora = {"rank": 4, "scale": 2.0, "dropout": 0.0}
    config: dict[str, Any] = {
        "model": "/home/somebody/models/base", "adapter_path": str(run), "fine_tune_type": "lora", "num_layers": 2,
        "lora_parameters": lora, "seed": 3, "reinforce": {"iters": 1}, "prompt": {"system": f"say {TOKEN}"},
        "resume_adapter_file": "~/old/adapters.safetensors", "data": [
            {"source": "synthetic", "n": 400}, {"source": "compiled", "file": "/home/somebody/data/train.jsonl"},
            {"source": "compiled", "file": "owner/problems", "n": 30},
        ],
    }  # fmt: skip
    (run / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    adapter = {"model": config["model"], "fine_tune_type": "lora", "num_layers": 2, "lora_parameters": lora}
    (run / "adapter_config.json").write_text(json.dumps(adapter), encoding="utf-8")
    (run / "adapters.safetensors").write_bytes(bytes(range(256)) * 40)
    (run / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    metrics = [{"phase": "sft", "update": n, "loss": 1.0, "tokens": 1000, "seconds": 3600.0} for n in (1, 2)]
    metrics[-1] |= {"val_accuracy": 0.5, "val_n": 40}
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics), encoding="utf-8")
    summary = {"n": 50, "correct": {"count": 8}, "data": "/home/somebody/data/dev.jsonl"}
    (run / "dev.summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return run


SENT = {"README.md", "adapter_config.json", "adapters.safetensors", "chat_template.jinja", "config.yaml",
        "metrics.jsonl"}  # fmt: skip


def test_a_run_goes_whole_and_nothing_else_of_it(hub: Hub, run: Path, capsys: Out) -> None:
    assert main(["push", str(run), REPOSITORY, "--private"]) == 0
    said = capsys.readouterr()
    files = hub.repositories[REPOSITORY]
    assert files.keys() - {".gitattributes"} == SENT
    assert hub.private[REPOSITORY] and hub.commits == 1
    for name in ("adapters.safetensors", "chat_template.jinja", "metrics.jsonl"):
        assert files[name] == (run / name).read_bytes()
    assert all(name in said.out for name in SENT), "it is listed"
    assert f"{hub.address}/{REPOSITORY}" in said.out
    assert TOKEN not in said.out + said.err
    assert not any(TOKEN.encode() in body for body in hub.bodies), "but in the header that takes it"
    texts = b"".join(content for name, content in files.items() if name != "adapters.safetensors").decode()
    assert "somebody" not in texts and str(run.parent) not in texts and "~/" not in texts
    config = yaml.safe_load(files["config.yaml"])
    assert [one.get("file") for one in config["data"]] == [None, "train.jsonl", "owner/problems"]
    assert json.loads(files["adapter_config.json"])["model"] == "base"


def test_the_card_tells_of_the_run(hub: Hub, run: Path) -> None:
    records = run.parent / "everyday.jsonl"
    row = {"id": "a", "question": "How many?", "answer": "3", "correct": True, "kind": "correct", "got": "3"}
    records.write_text("".join(json.dumps(row | {"id": name}) + "\n" for name in "ab"), encoding="utf-8")
    flags = ["--base-model", "someone/base-1b", "--license", "apache-2.0", "--records", str(records)]
    assert main(["push", str(run), REPOSITORY, *flags]) == 0
    text = hub.repositories[REPOSITORY]["README.md"].decode()
    metadata = yaml.safe_load(text.split("---\n")[1])
    wanted = {"base_model": "someone/base-1b", "license": "apache-2.0", "datasets": ["owner/problems"],
              "base_model_relation": "adapter", "library_name": "mlx"}  # fmt: skip
    assert metadata | wanted == metadata
    for said in ("train.jsonl, compiled to traces", "mlx-trace's own problem families, 400 problems", "2,000",
                 "2 hours", "rank 4, scale 2.0", "| dev | dev.jsonl | 50 | 16% [8, 29] |", "50% [35, 65] of 40", "| everyday.jsonl | 2 |",
                 f"hf download {REPOSITORY}", "mlx-trace chat --adapter-path traces"):  # fmt: skip
        assert said in text.replace("\\", ""), said
    assert str(run.parent) not in text
    assert json.loads(hub.repositories[REPOSITORY]["adapter_config.json"])["model"] == "someone/base-1b"


def test_a_plan_sends_nothing_and_needs_no_token(
    hub: Hub, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    assert main(["push", str(run), REPOSITORY, "--plan"]) == 0
    out = capsys.readouterr().out
    assert not hub.requests
    assert all(name in out for name in SENT)
    assert "## Figures" in out and "somebody" not in out and TOKEN not in out


def test_pushed_again_it_is_one_more_commit_and_a_card_written_by_hand_stays(hub: Hub, run: Path, capsys: Out) -> None:
    for _ in range(2):
        assert main(["push", str(run), REPOSITORY]) == 0
    assert hub.commits == 2 and not hub.private[REPOSITORY]
    assert MADE.encode() in hub.repositories[REPOSITORY]["README.md"]
    hub.repositories[REPOSITORY]["README.md"] = b"# Written there\n"
    (run / "adapters.safetensors").write_bytes(b"new")
    assert main(["push", str(run), REPOSITORY]) == 0
    assert hub.repositories[REPOSITORY]["README.md"] == b"# Written there\n"
    assert hub.repositories[REPOSITORY]["adapters.safetensors"] == b"new"
    assert "was written by hand, and stays" in capsys.readouterr().err
    (run / "README.md").write_text(OWN_CARD, encoding="utf-8")
    assert main(["push", str(run), REPOSITORY]) == 0
    assert hub.repositories[REPOSITORY]["README.md"].decode() == OWN_CARD, "a card in the folder is meant to go"


FAILURES = [(401, "does not accept the token"), (403, "does not let this token write"), (409, "changed by someone"),
            (412, "changed by someone"), (429, "too many requests"), (500, "a fault of its own (500)"),
            (503, "a fault of its own (503)")]  # fmt: skip


@pytest.mark.parametrize(
    ("where", "status", "said"),
    [("/commit/", *failure) for failure in FAILURES]
    + [("/api/repos/create", *failure) for failure in FAILURES if failure[0] != 409],  # which says that it is there
)
def test_what_the_hub_refuses_is_a_line_without_the_token(
    hub: Hub, run: Path, capsys: Out, where: str, status: int, said: str
) -> None:
    hub.failures[where] = status
    assert main(["push", str(run), REPOSITORY]) == 2
    err = capsys.readouterr().err
    assert said in err and "Traceback" not in err and TOKEN not in err
    assert hub.commits == 0


def test_without_a_token_or_a_hub_it_is_a_line(
    hub: Hub, run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Out
) -> None:
    with monkeypatch.context() as patched:
        patched.delenv("HF_TOKEN")
        patched.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
        assert main(["push", str(run), REPOSITORY]) == 2
        assert "there is no token" in capsys.readouterr().err
    with monkeypatch.context() as patched:
        patched.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        assert main(["push", str(run), REPOSITORY]) == 2
        assert "cannot be reached" in capsys.readouterr().err
    assert not hub.requests


def test_private_is_not_taken_for_granted(hub: Hub, run: Path, capsys: Out) -> None:
    assert main(["push", str(run), REPOSITORY]) == 0
    assert main(["push", str(run), REPOSITORY, "--private"]) == 2
    assert "is there already, and public" in capsys.readouterr().err
    assert hub.commits == 1


def test_ctrl_c_says_what_is_there(hub: Hub, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    def pressed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(HfApi, "create_commit", pressed)
    assert main(["push", str(run), REPOSITORY]) == 130
    assert "whole or not at all" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["traces", "a/b/c", "a b/c", "-a/b", "", f"me/{TOKEN}x y"])
def test_what_is_no_repository_is_told(run: Path, name: str, capsys: Out) -> None:
    assert main(["push", str(run), "--", name]) == 2
    err = capsys.readouterr().err
    assert "owner/name" in err and TOKEN not in err


def test_a_folder_of_something_else_is_told(run: Path, tmp_path: Path, capsys: Out) -> None:
    (run / "adapters.safetensors").unlink()
    for folder, said in ((run, "it has no adapters.safetensors"), (tmp_path / "none", "no such folder"),
                         (tmp_path, "neither an adapter"), (run / "config.yaml", "no such folder")):  # fmt: skip
        assert main(["push", str(folder), REPOSITORY]) == 2
        assert said in capsys.readouterr().err
    assert main(["push", REPOSITORY, str(run)]) == 2
    assert f"mlx-trace push {run} {REPOSITORY}" in capsys.readouterr().err


def test_a_model_goes_without_what_is_not_a_models(random_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for path in random_model.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "optimizer.pt").write_bytes(b"x")
    settings = json.loads((folder / "tokenizer_config.json").read_text()) | {"name_or_path": "/home/somebody/base"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    assert form_of(folder) == "model"
    files = {file.name: file.content for file in upload_files(folder, "model", None, "card")}
    assert files.keys() == {
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    } | (files.keys() & {"special_tokens_map.json", "chat_template.jinja"})
    sent = files["tokenizer_config.json"]
    assert isinstance(sent, bytes) and b"somebody" not in sent
    assert {key for key in settings if key != "name_or_path"} == json.loads(sent).keys()


def test_an_origin_is_known_by_our_names_and_the_hubs(tmp_path: Path) -> None:
    for name in ("smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct"):
        origin = origin_of(name)
        assert (origin.hub, origin.licence) == ("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0")
    assert origin_of("tiny").licence == "mit" and origin_of("tiny").hub is None
    path = origin_of(str(tmp_path / "secret place" / "base"))
    assert (path.name, path.hub, path.licence) == ("base", None, None)
    assert origin_of("llama32-1b").licence == "llama3.2"


def test_the_licence_of_every_model_with_a_name_is_known() -> None:
    assert set(LICENCES) == {TINY, *(entry.name for entry in NAMED)}
    for entry in NAMED:
        assert origin_of(entry.hub).licence == origin_of(entry.name).licence == LICENCES[entry.name]


@pytest.mark.parametrize("text", [TOKEN, f"x{TOKEN}", f"token={TOKEN}.", f"{TOKEN} {TOKEN}"])
def test_a_token_cannot_be_read(text: str) -> None:
    assert "NoRealToken" not in redacted(text, TOKEN)
    assert "NoRealToken" not in redacted(text.replace("x", " "))
    assert redacted("hf_hub and half_life") == "hf_hub and half_life"
