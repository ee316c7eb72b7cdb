"""Weights on the disk, and a small HTTP server on loopback that acts as the hub. Nothing is downloaded."""

import hashlib
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import pytest
import torch

from backbones import HubFile
from benchmark.preflight.doctor import checkpoints
from benchmark.preflight.doctor.finding import Status
from benchmark.trial.costs import GIB

PASS, WARN, FAIL = Status
COMMIT = "0123456789abcdef0123456789abcdef01234567"
GIANT = "dinov2-vit-g14"  # open
GATED = "retfound-vit-l16"


class PretendHub(BaseHTTPRequestHandler):
    """Answers with the result of `server.answers`: a size, or a status with the hub's error code."""

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        owner, name, _, _, file = self.path.strip("/").split("/", 4)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        self.server.asked.append((f"{owner}/{name}", file, token))
        answer = self.server.answers(f"{owner}/{name}", file, token)
        status, headers = (200, {"Content-Length": answer}) if isinstance(answer, int) else answer
        self.send_response(status)
        for key, value in {"X-Repo-Commit": COMMIT, "ETag": '"0"', "Content-Length": 0, **headers}.items():
            self.send_header(key, str(value))
        self.end_headers()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no token."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    huggingface_hub.close_session()  # the client keeps the proxy it was made with
    return tmp_path / "hub"


@pytest.fixture
def hub(cache, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), PretendHub)
    server.asked, server.answers = [], lambda repository, file, token: 1000
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    point_to(server.server_address[1], monkeypatch)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def point_to(port, monkeypatch):
    constants, endpoint = huggingface_hub.constants, f"http://127.0.0.1:{port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def weights_of(case):
    """The findings for a study with these backbones."""
    return lambda *backbones: checkpoints.check_weights(case(backbones=list(backbones)))


def test_untrained_models_need_no_weights(hub, statuses, weights_of):
    assert statuses(weights_of("openclip-tiny", "dinov2-tiny")) == [PASS, PASS]
    assert hub.asked == []


def test_weights_to_be_downloaded_are_asked_for_and_not_fetched(hub, cache, weights_of):
    (finding,) = weights_of(GIANT)
    assert finding.status is PASS
    assert f"{GIANT}: not here yet; 0 MiB will be downloaded from huggingface.co/timm/vit_giant" in finding.detail
    assert not list(cache.rglob("*.safetensors"))


def test_the_hub_is_not_asked_in_a_quick_check(hub, case):
    (finding,) = checkpoints.check_weights(replace(case(backbones=[GATED]), quick=True))
    assert finding.status is WARN
    assert finding.fix.startswith("accept its terms there and set HF_TOKEN, or name a local file")
    assert hub.asked == []


def test_a_revision_is_asked_for(hub, weights_of):
    hub.answers = lambda *asked: (404, {"X-Error-Code": "RevisionNotFound"})
    (finding,) = weights_of({"name": GIANT, "revision": "v9"})
    assert (finding.status, "no revision 'v9'" in finding.detail, "`revision:`" in finding.fix) == (FAIL, True, True)


def test_a_file_of_another_name(hub):
    """Not every repository contains safetensors."""
    hub.answers = lambda repository, file, token: (
        (404, {"X-Error-Code": "EntryNotFound"}) if file == "model.safetensors" else 2000
    )
    found = checkpoints.ask_hub(HubFile("lab/model", "model.safetensors", fallback="pytorch_model.bin"))
    assert found == 2000


def test_gated_weights_with_and_without_access(hub, monkeypatch, statuses, weights_of):
    def answers(repository, file, token):
        return 1000 if token == "hf_granted" else (403 if token else 401, {"X-Error-Code": "GatedRepo"})

    hub.answers = answers
    (finding,) = weights_of(GATED)
    assert finding.status is FAIL
    assert "huggingface.co/YukunZhou/RETFound_mae_natureCFP: gated, and no token was sent (401)" in finding.detail
    assert "accept the terms" in finding.fix
    assert "as `weights:` of the backbone" in finding.fix

    monkeypatch.setenv("HF_TOKEN", "hf_somebody")
    (finding,) = weights_of(GATED)
    assert (finding.status, "no access (403)" in finding.detail) == (FAIL, True)

    monkeypatch.setenv("HF_TOKEN", "hf_granted")
    assert statuses(weights_of(GATED)) == [PASS]


def test_a_hub_that_is_out_of_order_or_reach_is_worth_a_warning(hub, cache, monkeypatch, weights_of):
    hub.answers = lambda *asked: (503, {})
    (finding,) = weights_of(GIANT)
    assert (finding.status, "(503)" in finding.detail) == (WARN, True)

    point_to(1, monkeypatch)
    (finding,) = weights_of(GIANT)
    assert (finding.status, "cannot be reached" in finding.detail) == (WARN, True)

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    (finding,) = weights_of(GIANT)
    assert (finding.status, "HF_HUB_OFFLINE" in finding.detail) == (WARN, True)


def test_a_cache_without_room(hub, monkeypatch, statuses, weights_of):
    hub.answers = lambda *asked: 5 * GIB
    monkeypatch.setattr(checkpoints, "free_bytes", lambda path: 8 * GIB)
    assert statuses(weights_of(GIANT)) == [PASS]
    *found, short = weights_of(GIANT, "openclip-vit-g14")
    assert statuses(found) == [PASS, PASS]
    assert (short.status, "10.0 GiB to download, but only 8.0 GiB free" in short.detail) == (FAIL, True)
    assert "HF_HOME" in short.fix


def test_weights_in_the_cache_need_no_hub(hub, cache, weights_of):
    folder = cache / "models--timm--vit_giant_patch14_dinov2.lvd142m"
    file = folder / "snapshots" / COMMIT / "model.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(3 * 2**20))
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    (finding,) = weights_of(GIANT)
    assert (finding.status, finding.detail) == (PASS, f"{GIANT}: {file}, 3 MiB")
    assert hub.asked == []


def test_weights_in_a_file(tmp_path, statuses, weights_of):
    file = tmp_path / "model.safetensors"
    chosen = {"name": GATED, "weights": str(file)}
    (finding,) = weights_of(chosen)
    assert finding.status is FAIL
    assert str(file) in finding.detail

    file.write_bytes(b"weights")
    assert statuses(weights_of(chosen)) == [PASS]
    digest = hashlib.sha256(b"weights").hexdigest()
    (finding,) = weights_of(chosen | {"sha256": digest})
    assert (finding.status, finding.detail.endswith("SHA-256 as configured")) == (PASS, True)
    (finding,) = weights_of(chosen | {"sha256": "0" * 64})
    assert (finding.status, digest in finding.detail) == (FAIL, True)


def test_a_missing_token_is_reported_only_if_it_is_needed(tmp_path, cache, monkeypatch, case):
    def token(*backbones):
        (finding,) = checkpoints.check_token(case(backbones=list(backbones)))
        return finding

    assert token("dinov2-tiny", GIANT).status is PASS
    assert token({"name": GATED, "weights": str(tmp_path / "own.pth")}).status is PASS
    assert token(GATED).status is WARN
    assert GATED in token(GATED).detail
    monkeypatch.setenv("HF_TOKEN", "hf_somebody")
    assert (token(GATED).status, "hf_" in token(GATED).detail) == (PASS, False)


def test_a_file_of_another_kind_is_a_failure(tmp_path, weights_of):
    torch.jit.save(torch.jit.trace(torch.nn.Linear(3, 2), torch.zeros(1, 3)), tmp_path / "ViT-B-32.pt")
    (finding,) = weights_of({"name": GATED, "weights": str(tmp_path / "ViT-B-32.pt")})
    assert finding.status is FAIL
    assert "ViT-B-32.pt: a TorchScript archive" in finding.detail


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("all_proxy", "socks://127.0.0.1:7890/", "all_proxy is 'socks://127.0.0.1:7890/', not an address"),
        ("HF_TOKEN", "“hf_geheim”", "the token in HF_TOKEN contains “"),
        ("SSL_CERT_FILE", "/nonexistent.pem", "SSL_CERT_FILE names /nonexistent.pem, which cannot be read"),
    ],
)
def test_an_invalid_variable_fails_only_the_weights_to_download(
    name, value, message, tmp_path, hub, monkeypatch, case, statuses, weights_of
):
    monkeypatch.setenv(name, value)
    untrained, giant = weights_of("dinov2-tiny", GIANT)
    assert statuses([untrained, giant]) == [PASS, FAIL]
    assert message in giant.detail
    assert giant.fix.endswith("as `weights:` of the backbone")
    assert "geheim" not in giant.detail + giant.fix
    (token,) = checkpoints.check_token(case(backbones=[GIANT]))
    assert token.status is (FAIL if name == "HF_TOKEN" else PASS)
    (token,) = checkpoints.check_token(case(backbones=["dinov2-tiny"]))
    assert token.status is (WARN if name == "HF_TOKEN" else PASS)
    assert hub.asked == []
