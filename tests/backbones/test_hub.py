"""Published weights come from the hub's cache or the hub, which is simulated by a small HTTP server on loopback."""

import errno
import hashlib
import shutil
import ssl
import subprocess
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest

from backbones.hub import HubFile
from backbones.loading import WeightsError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OLDER = "f" * 40
CONTENT = {"model.safetensors": b"new weights " * 9000, "pytorch_model.bin": b"weights in the old format"}
OWN_TOKEN = "hf_granted"

FILE = HubFile("lab/model", "model.safetensors")
GATED = HubFile("lab/gated", "model.safetensors", gated=True)


class PretendHub(BaseHTTPRequestHandler):
    """The responses that the hub's client needs, with an error that depends on the repository's name."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, with_body):
        if "/resolve/" not in self.path:  # the client's other requests
            return self.refuse(404)
        self.server.requests.append(f"{self.command} {self.path}")
        _, name, _, revision, file = self.path.strip("/").split("/", 4)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if name == "gated" and token != OWN_TOKEN:
            return self.refuse(403 if token else 401, "GatedRepo")
        if name == "absent":
            return self.refuse(404 if token else 401, "RepoNotFound")
        if name == "fine-grained":
            return self.refuse(403)
        if name == "bad-token":
            return self.refuse(401, message="Invalid credentials in Authorization header")
        if name == "broken":
            return self.refuse(503)
        if name == "no-hub":
            return self.send({"Content-Length": "0"}, b"")
        if revision not in ("main", "v1", COMMIT, OLDER):
            return self.refuse(404, "RevisionNotFound")
        if file not in CONTENT or (name == "old-format" and file == "model.safetensors"):
            return self.refuse(404, "EntryNotFound")
        content = CONTENT[file]
        headers = {
            "X-Repo-Commit": OLDER if revision in ("v1", OLDER) else COMMIT,
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "Content-Length": str(len(content)),
        }
        if not with_body:
            return self.send(headers, b"")
        if name == "cut":
            start = b"" if "Range" in self.headers else content[:5000]
            self.close_connection = True
            return self.send(headers, start)
        if name == "short":
            return self.send(headers | {"Content-Length": "5000"}, content[:5000])
        return self.send(headers, content)

    def refuse(self, status, code="", message=""):
        codes = {"X-Error-Code": code, "X-Error-Message": message}
        self.send({"Content-Length": "0"} | {key: value for key, value in codes.items() if value}, b"", status)

    def send(self, headers, body, status=200):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), PretendHub)
    server.requests = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, no token, no proxy, and no delay before the client's retries."""
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    huggingface_hub.close_session()  # the client keeps the proxy with which it was created
    return tmp_path / "hub"


def point_to(address, monkeypatch, scheme="http"):
    endpoint = f"{scheme}://{address[0]}:{address[1]}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def requests(server, cache, monkeypatch):
    """The requests that the hub receives from now on."""
    point_to(server.server_address, monkeypatch)
    server.requests.clear()
    return server.requests


@pytest.fixture
def offline(cache, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def test_found_downloaded_and_from_then_on_in_the_cache(requests, cache):
    assert FILE.cached() is None
    path = FILE.fetch()
    assert path.read_bytes() == CONTENT["model.safetensors"]
    assert path.is_relative_to(cache)
    assert FILE.commit(path) == COMMIT
    assert [request.split()[0] for request in requests] == ["HEAD", "GET"]
    assert FILE.cached() == FILE.fetch() == path
    assert len(requests) == 2


def test_what_is_in_the_cache_needs_no_connection(requests, monkeypatch):
    path = FILE.fetch()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert FILE.fetch() == path
    assert replace(FILE, revision=COMMIT).fetch() == path


def test_a_revision_is_honoured_and_its_commit_known(requests):
    tagged = replace(FILE, revision="v1")
    path = tagged.fetch()
    assert requests[0] == "HEAD /lab/model/resolve/v1/model.safetensors"
    assert tagged.commit(path) == OLDER
    assert FILE.cached() is None
    assert replace(FILE, revision=OLDER).cached() == path
    assert FILE.commit(FILE.fetch()) == COMMIT
    assert tagged.cached() == path


def test_an_older_repository_has_the_other_file(requests):
    file = HubFile("lab/old-format", "model.safetensors", fallback="pytorch_model.bin")
    path = file.fetch()
    assert path.read_bytes() == CONTENT["pytorch_model.bin"]
    assert path.name == "pytorch_model.bin"
    assert file.cached() == path
    assert file.commit(path) == COMMIT
    assert replace(file, repository="lab/model").fetch().name == "model.safetensors"


def test_a_token_with_access_opens_a_gated_repository(requests, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", OWN_TOKEN)
    assert GATED.fetch().read_bytes() == CONTENT["model.safetensors"]


@pytest.mark.parametrize(
    ("file", "token", "message"),
    [
        (
            GATED,
            None,
            r"gated, and no token was sent \(401\): accept the terms on huggingface\.co/lab/gated, then set",
        ),
        (
            GATED,
            "hf_other",
            r"your token has no access \(403\): accept the terms on huggingface\.co/lab/gated",
        ),
        (
            HubFile("lab/fine-grained", "a.pth"),
            "hf_other",
            r"no access \(403\): .* gated repositories",
        ),
        (
            HubFile("lab/bad-token", "a.pth"),
            "hf_expired",
            r"the hub refuses your token \(401\): set HF_TOKEN",
        ),
        (HubFile("lab/absent", "a.pth"), None, "no such repository, or a private one: if you have access.*HF_TOKEN"),
        (HubFile("lab/absent", "a.pth"), "hf_other", "no such repository, or a private one"),
        (replace(FILE, file="b.pth"), None, "the repository has no such file at revision 'main': correct `revision:`"),
        (replace(FILE, file="b.pth", fallback="b.bin"), None, "the repository has no such file at revision 'main'"),
        (replace(FILE, revision="v9"), None, "the repository has no revision 'v9': correct `revision:`"),
        (HubFile("lab/cut", "model.safetensors"), None, r"the download was interrupted \(\w+\): repeat the same"),
        (
            HubFile("lab/short", "model.safetensors"),
            None,
            r"the download was interrupted \(\w+\): repeat the same",
        ),
        (HubFile("lab/broken", "model.safetensors"), None, r"the hub returned an error \(503\): try again later"),
        (
            HubFile("lab/no-hub", "model.safetensors"),
            None,
            r"the hub cannot be reached \(FileMetadataError\): check",
        ),
    ],
)
def test_an_error_is_one_line_with_its_fix(file, token, message, requests, cache, monkeypatch):
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    by_hand = f"; or download {file.file} from huggingface.co/{file.repository} elsewhere and name it as `weights:`$"
    with pytest.raises(WeightsError, match=rf"^{file.repository}/{file.file}: .*{message}.*{by_hand}") as error:
        file.fetch()
    assert "\n" not in str(error.value)
    assert requests
    assert not [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size > 1000]
    assert file.cached() is None


@pytest.fixture
def nobody(cache, monkeypatch):
    """An address where nothing listens."""
    with ThreadingHTTPServer(("127.0.0.1", 0), PretendHub) as closed:
        address = closed.server_address
    point_to(address, monkeypatch)


def test_no_hub_within_reach(nobody):
    with pytest.raises(WeightsError, match=r"not in the hub's cache, and the hub cannot be reached \(ConnectError\): "):
        FILE.fetch()


@pytest.mark.parametrize(
    ("endpoint", "error"), [(None, "ConnectError"), ("huggingface.co", "UnsupportedProtocol")], ids=["closed", "no-url"]
)
def test_a_plain_failure_to_connect_is_no_broken_download(endpoint, error, nobody):
    """The error of a request for metadata only, which the client does not wrap."""
    url = huggingface_hub.hf_hub_url(FILE.repository, FILE.file, endpoint=endpoint)
    with pytest.raises(huggingface_hub.errors.HTTPError) as raised:
        huggingface_hub.get_hf_file_metadata(url)
    message = (
        f"not in the hub's cache, and the hub cannot be reached ({error}): check the network, the proxy and HF_ENDP"
    )
    assert FILE.reason(raised.value).startswith(message)


def test_offline_by_choice(offline):
    assert FILE.cached() is None
    with pytest.raises(WeightsError, match=r"not in the hub's cache, and HF_HUB_OFFLINE forbids the download: unset"):
        FILE.fetch()


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "no space left in .*hub: free some, or set HF_HOME"),
        (errno.EACCES, "cannot be written .*"),
    ],
)
def test_a_disk_that_does_not_take_it(number, message, requests, monkeypatch):
    """The client fails to write to the file of the incomplete download."""
    opened = Path.open

    def full(path, *arguments, **options):
        if path.suffix == ".incomplete":
            raise OSError(number, "from the system", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(WeightsError, match=message):
        FILE.fetch()


@pytest.fixture
def institution(tmp_path, cache, monkeypatch):
    """The hub with a certificate of an institution; returns the certificate's path."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl, to make a certificate")
    file = tmp_path / "institution.pem"
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", str(file), "-out", str(file)]
    named = ["-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", "req", "-x509", *made, *named], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = ThreadingHTTPServer(("127.0.0.1", 0), PretendHub)
    server.requests = []
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    point_to(server.server_address, monkeypatch, "https")
    yield file
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_certificate_of_the_institutions_own(institution, monkeypatch):
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(WeightsError, match=r"the certificate of https://127\.0\.0\.1:\d+ is not trusted: set"):
        FILE.fetch()
    monkeypatch.setenv("SSL_CERT_FILE", str(institution))
    huggingface_hub.close_session()
    assert FILE.fetch().read_bytes() == CONTENT["model.safetensors"]


def test_a_certificate_file_that_is_gone_is_not_the_cache(requests, monkeypatch):
    """chidiwilliams/buzz#1356: the client's FileNotFoundError has an errno, but not one of writing."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent.pem")
    with pytest.raises(WeightsError, match=r"SSL_CERT_FILE names /nonexistent\.pem") as error:
        FILE.fetch()
    assert "HF_HOME" not in str(error.value)
    assert not requests


@pytest.fixture
def strict_proxy(cache, monkeypatch):
    """A proxy that requires a password."""

    class Proxy(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_CONNECT(self):
            self.send_error(407, "Proxy Authentication Required")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.server_address[1]}")
    point_to(("hub.example", 443), monkeypatch, "https")
    huggingface_hub.close_session()
    yield
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_proxy_that_asks_for_a_password(strict_proxy):
    with pytest.raises(
        WeightsError, match=r"the proxy in HTTPS_PROXY refuses the connection \(407 Proxy.*\): correct its"
    ):
        FILE.fetch()


@pytest.mark.parametrize("variable", ["HF_HOME", "HF_HUB_CACHE"])
def test_a_cache_that_is_a_file(variable, requests, cache, monkeypatch):
    """The message names the variable that takes effect."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "as the test sets it")
    cache.write_bytes(b"no folder")
    with pytest.raises(WeightsError, match=rf"the hub's cache cannot be written \(.*{cache}.*\): set {variable}"):
        FILE.fetch()
    assert FILE.cached() is None


def test_a_link_in_the_cache_whose_file_is_gone(requests, cache, monkeypatch):
    path = FILE.fetch()
    path.resolve().unlink()
    assert FILE.cached() is None
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE forbids the download"):
        FILE.fetch()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    assert FILE.fetch().read_bytes() == CONTENT["model.safetensors"]


def test_offline_by_the_other_variable(offline, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "1")
    with pytest.raises(WeightsError, match="TRANSFORMERS_OFFLINE forbids the download: unset TRANSFORMERS_OFFLINE"):
        FILE.fetch()


def test_whatever_else_the_client_raises_is_one_line_without_its_text(requests, monkeypatch):
    def broken(*arguments, **options):
        raise LookupError("Bearer hf_granted")

    monkeypatch.setattr("backbones.hub.hf_hub_download", broken)
    with pytest.raises(WeightsError, match=r"the hub's client failed \(LookupError\): che") as error:
        FILE.fetch()
    assert "hf_granted" not in str(error.value)


def test_a_file_outside_the_cache_has_no_commit(cache, tmp_path):
    snapshot = cache / "models--lab--model" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    assert FILE.commit(snapshot / "model.safetensors") == COMMIT
    assert FILE.commit(snapshot / "weights" / "model.safetensors") == COMMIT
    assert FILE.commit(snapshot.parent / "model.safetensors") is None
    assert FILE.commit(tmp_path / "model.safetensors") is None
    assert replace(FILE, repository="lab/another").commit(snapshot / "model.safetensors") is None


def test_a_file_goes_by_repository_and_name():
    assert str(FILE) == "lab/model/model.safetensors"
    assert FILE.revision == "main"
