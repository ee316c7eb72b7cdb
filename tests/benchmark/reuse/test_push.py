"""Uploads to a small HTTP server on loopback that answers as the hub does; the client is the hub's own."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import pytest
from click.testing import CliRunner

import run_benchmark
from benchmark.errors import UserError
from benchmark.reuse.push import SHARED
from benchmark.storage.rundir import RunDirectory, write_json
from benchmark.study.config import Study
from benchmark.study.trials import trials_of

TOKEN = "hf_secretsecretsecret"
WEIGHTS = b"weights" * 999
CARD = "---\nlicense: apache-2.0\n---\n\n# card\n"
SECRET = ("predictions.parquet", "cam.npy", "trial.json", "browser.js", "figures/best-1.png", "figures/README.md")


class PretendHub(BaseHTTPRequestHandler):
    """The endpoints that a commit needs: https://huggingface.co/docs/hub/api, and Git LFS's batch API."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        repository = self.path.removeprefix("/api/models/")
        found = self.server.repositories.get(repository)
        if found is None:
            return self.answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        siblings = [{"rfilename": name} for name in found["files"]]
        return self.answer({"id": repository, "private": found["private"], "siblings": siblings})

    def do_PUT(self):
        self.server.stored[self.path.removeprefix("/stored/")] = self.body()
        self.answer({})

    def do_POST(self):
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer({"error": f"Invalid token {self.headers.get('Authorization')}"}, 401)
        path, body = self.path, self.body()
        if path == "/api/repos/create":
            asked = json.loads(body)
            if asked.get("organization") == "others":
                return self.answer({"error": f"{TOKEN} may not write"}, 403)
            repository = f"{asked.get('organization', 'lab')}/{asked['name']}"
            private = asked.get("visibility") == "private"
            url = {"url": f"{self.server.address}/{repository}"}
            if repository in self.server.repositories:
                return self.answer(url | {"error": "You already created this model repo"}, 409)
            self.server.repositories[repository] = {"private": private, "files": {}}
            return self.answer(url)
        if path == "/api/validate-yaml":
            if "license:" not in json.loads(body)["content"]:
                return self.answer({"errors": [{"message": "no licence"}], "warnings": []}, 400)
            return self.answer({"errors": [], "warnings": []})
        if path.endswith("/preupload/main"):
            files = json.loads(body)["files"]
            modes = [
                {"path": file["path"], "shouldIgnore": False,
                 "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular"}
                for file in files
            ]  # fmt: skip
            return self.answer({"files": modes})
        if path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                one | {"actions": {"upload": {"href": f"{self.server.address}/stored/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return self.answer({"transfer": "basic", "objects": objects})
        if path.endswith("/commit/main"):
            return self.commit(path.removeprefix("/api/models/").removesuffix("/commit/main"), body)
        return self.answer({}, 404)

    def commit(self, repository, body):
        files = self.server.repositories[repository]["files"]
        for line in body.decode().splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.server.stored[value["oid"]]
            elif operation["key"] == "deletedFile":
                del files[value["path"]]
        url = f"{self.server.address}/{repository}/commit/{'a' * 40}"
        return self.answer({"success": True, "commitOid": "a" * 40, "commitUrl": url, "hookOutput": ""})

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def answer(self, values, status=200, headers=None):
        content = json.dumps(values).encode()
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The server, with the client pointed to it; Xet, the hub's own protocol for large files, is off."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), PretendHub)
    server.address = f"http://127.0.0.1:{server.server_port}"
    server.repositories, server.stored = {}, {}
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    huggingface_hub.close_session()
    yield server
    huggingface_hub.close_session()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def run(tmp_path):
    """A run with the files of a LoRA trial and of a partial one, and with files of patients."""
    study = Study.model_validate(
        {"name": "x", "cohort": {"manifest": "x.csv"}, "backbones": ["dinov2-tiny"], "strategies": ["lora", "partial"]}
    )
    directory = RunDirectory(tmp_path / "run")
    directory.claim(study.dump(), resume=False)
    for trial in trials_of(study):
        folder = directory.trial(trial)
        adapter = trial.strategy.name == "lora"
        weights = ("adapter_model.safetensors", "adapter_config.json") if adapter else ("weights.safetensors",)
        for name in (*weights, *SECRET):
            (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
            (folder.path / name).write_bytes(WEIGHTS)
        folder.card.write_text(CARD)
        write_json(folder.config, {"threshold": 0.5})
        write_json(folder.record, {})
    return directory


LORA = {"adapter_model.safetensors", "adapter_config.json", "README.md", "config.json"}


def push(run, *options, trial="dinov2-tiny-lora-s0", repo="lab/eyes"):
    result = CliRunner().invoke(run_benchmark.main, ["push", str(run.path), "--trial", trial, "--repo", repo, *options])
    assert TOKEN not in result.output
    assert TOKEN not in str(result.exception)
    return result


def refused(run, *options, **chosen):
    result = push(run, *options, **chosen)
    assert isinstance(result.exception, UserError), result.output
    assert "\n" not in str(result.exception)
    return str(result.exception)


def test_weights_card_and_configuration_arrive_in_a_private_repository(hub, run):
    result = push(run)
    assert result.exit_code == 0, result.exception
    there = hub.repositories["lab/eyes"]
    assert there["private"]
    assert there["files"].keys() == LORA, "and no file of a patient"
    assert there["files"]["adapter_model.safetensors"] == WEIGHTS
    assert there["files"]["README.md"].decode() == CARD
    assert hub.stored.keys() == {hashlib.sha256(WEIGHTS).hexdigest()}
    assert f"{hub.address}/lab/eyes (private)" in re.sub(r"\s+", " ", result.output)


def test_public_only_where_asked(hub, run):
    assert push(run, "--public").exit_code == 0
    assert not hub.repositories["lab/eyes"]["private"]


def test_a_repository_never_becomes_public_or_is_mistaken_for_a_private_one(hub, run):
    hub.repositories["lab/eyes"] = {"private": False, "files": {}}
    assert "exists and is public; add --public, or choose another --repo" in refused(run)
    hub.repositories["lab/own"] = {"private": True, "files": {}}
    assert "exists and is private; omit --public" in refused(run, "--public", repo="lab/own")
    assert not any(each["files"] for each in hub.repositories.values())


def test_another_trial_leaves_no_weights_of_the_first(hub, run):
    assert push(run).exit_code == 0
    hub.repositories["lab/eyes"]["files"][".gitattributes"] = b"kept"
    assert push(run, trial="dinov2-tiny-partial-s0").exit_code == 0
    assert hub.repositories["lab/eyes"]["files"].keys() == {
        "weights.safetensors", "README.md", "config.json", ".gitattributes"
    }  # fmt: skip
    assert set(SHARED) >= LORA | {"weights.safetensors"}


def test_what_the_hub_refuses_is_one_line_without_the_token(hub, run, monkeypatch):
    assert "may not write there (403): use a token with write access to others" in refused(run, repo="others/eyes")
    run.trial(trials_of(run.earlier_study())[0]).card.write_text("# no head\n")
    assert "make the report of the run again" in refused(run)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "refuses your token (401)" in refused(run)
    monkeypatch.setenv("HF_TOKEN", "hf wrong")
    assert "the token in HF_TOKEN contains a space" in refused(run)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "the hub cannot be reached (ConnectError)" in refused(run)


def test_what_is_missing_is_named_before_anything_is_sent(hub, run, monkeypatch):
    for repo in ("eyes", "lab/eyes/left", "lab/e yes"):
        assert f"--repo {repo}: is not the name of a repository; write user/model" in refused(run, repo=repo)
    monkeypatch.delenv("HF_TOKEN")
    assert "no token of the hub: set HF_TOKEN" in refused(run)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    run.trial(trials_of(run.earlier_study())[0]).config.unlink()
    assert "has no model card; make the report of the run again with --resume" in refused(run)
    assert not hub.repositories
