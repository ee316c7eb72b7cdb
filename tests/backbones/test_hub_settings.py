"""Faulty variables of the hub's client are named before the hub is contacted, without the secrets in them."""

import importlib.util
import os
from pathlib import Path

import pytest
from huggingface_hub import constants

from backbones import hub_settings
from backbones.hub import HubFile
from backbones.loading import WeightsError

FILE = HubFile("lab/model", "model.safetensors")


@pytest.fixture(autouse=True)
def plain(tmp_path, monkeypatch):
    """No proxy, token or certificates, an empty cache, and a hub address without a server."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("SSL_CERT", "HF_", "HUGGING")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")


def test_plain_surroundings_have_no_fault():
    assert hub_settings.fault() is None
    assert hub_settings.proxy_variable() is None
    assert hub_settings.cache_variable() == "HF_HOME"


NO_CERTIFICATES = __file__
FAULTS = [
    # As written by GNOME's settings (gradio-app/gradio#4007, pdm-project/pdm#3390, danielgatis/rembg#855).
    (
        "all_proxy",
        "socks://127.0.0.1:7890/",
        r"all_proxy is 'socks://127\.0\.0\.1:7890/', not an address that begins with ",
    ),
    ("ALL_PROXY", "socks4://127.0.0.1:7890", "ALL_PROXY is 'socks4://127.0.0.1:7890', not an address that begins with"),
    ("HTTPS_PROXY", "http://anna:geheim@proxy:port", "HTTPS_PROXY is 'http://…@proxy:port', not an address"),
    ("https_proxy", "http://[::1", "https_proxy is .*, not an address"),
    (
        "http_proxy",
        "http://anna:geheim@“proxy”:80",
        r"http_proxy is 'http://…@“proxy”:80', which has “ \(U\+201C\) in its host",
    ),
    ("http_proxy", "http://pro xy:80", r"http_proxy is .*, which has a space \(U\+0020\) in its host"),
    ("HTTP_PROXY", "http://", "HTTP_PROXY is 'http://', which has no host"),
    (
        "HF_TOKEN",
        "“hf_geheim”",
        r"the token in HF_TOKEN contains “ \(U\+201C\), which no token does: set HF_TOKEN to the token",
    ),
    ("HF_TOKEN", '"hf_geheim"', r'the token in HF_TOKEN contains " \(U\+0022\)'),
    ("HF_TOKEN", "hf_ge heim", r"the token in HF_TOKEN contains a space \(U\+0020\)"),
    ("HF_TOKEN", "hf_geheim\u00e4", r"the token in HF_TOKEN contains ä \(U\+00E4\)"),
    ("HF_TOKEN", "hf_ge\x01heim", r"the token in HF_TOKEN contains U\+0001,"),
    ("HF_TOKEN", "hf_geheim\u200b", r"the token in HF_TOKEN contains U\+200B,"),
    ("HUGGING_FACE_HUB_TOKEN", "“hf_geheim”", "the token in HUGGING_FACE_HUB_TOKEN contains “"),
    # As left by conda and by hospitals' proxies (chidiwilliams/buzz#1356).
    (
        "SSL_CERT_FILE",
        "/nonexistent.pem",
        r"SSL_CERT_FILE names /nonexistent\.pem, which cannot be read \(No such file or",
    ),
    (
        "SSL_CERT_FILE",
        NO_CERTIFICATES,
        "SSL_CERT_FILE names .*, which contains no certificates: name a file of certificates",
    ),
    (
        "SSL_CERT_FILE",
        str(Path(__file__).parent),
        r"SSL_CERT_FILE names .*, which cannot be read \(Is a directory\)",
    ),
]


@pytest.mark.parametrize(("name", "value", "message"), FAULTS)
def test_a_variable_that_cannot_work_is_named(name, value, message, monkeypatch):
    monkeypatch.setenv(name, value)
    with pytest.raises(WeightsError, match=rf"^lab/model/model\.safetensors: {message}") as error:
        FILE.fetch()
    for part in ("\n", "geheim", "hf_ge", "anna"):
        assert part not in str(error.value)
    assert str(error.value).endswith("elsewhere and name it as `weights:`")


def test_a_socks_proxy_needs_its_package(monkeypatch):
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:7890")
    found = hub_settings.fault()
    if importlib.util.find_spec("socksio") is None:
        assert found.startswith(
            "all_proxy is 'socks5://127.0.0.1:7890', and a SOCKS proxy needs the package socksio: pip install sock"
        )
    else:
        assert found is None


@pytest.mark.parametrize("endpoint", ["huggingface.co", "https://", "https://“hf-mirror.com”", "https://hf mirror.com"])
def test_an_endpoint_that_is_no_address(endpoint, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    with pytest.raises(WeightsError, match=r"HF_ENDPOINT is '.*', .*: correct it, or unset it; or download"):
        FILE.fetch()


def test_folders_of_certificates_count_where_the_hub_shows_one(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path / 'gone'}")
    assert hub_settings.fault() is None
    monkeypatch.setattr(constants, "ENDPOINT", "https://127.0.0.1:1")
    assert hub_settings.fault().startswith(
        f"SSL_CERT_DIR names {tmp_path / 'gone'}, which is not a folder: name a folder"
    )
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path / 'gone'}:{tmp_path}")
    assert hub_settings.fault() is None


def test_a_token_in_a_file(tmp_path, monkeypatch):
    file = tmp_path / "token"
    file.write_text("hf_granted\n", encoding="utf-8")
    assert hub_settings.token_fault() is None
    file.write_text("“hf_geheim”", encoding="utf-8")
    assert hub_settings.token_fault() == f"the token in {file} contains “ (U+201C), which no token does: log in again"
    file.write_bytes(b"\xff\xfeh\x00f\x00")
    assert hub_settings.token_fault().startswith(f"{file} does not contain a token: ")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    assert hub_settings.token_fault() is None
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(file / "token"))
    assert hub_settings.token_fault().startswith(f"{file}/token cannot be read (Not a directory): set HF_HOME to")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HF_TOKEN", "hf_granted\n"),
        ("HF_TOKEN", "  hf_granted  "),
        ("HF_TOKEN", "eyJhbGciOiJSUzI1NiJ9.e30.a-b_c=="),
        ("https_proxy", "proxy.clinic.example:8080"),
        ("https_proxy", "http://anna:ge%40heim@proxy:8080/"),
        ("https_proxy", "http://[::1]:8080"),
        ("https_proxy", ""),
        ("SSL_CERT_FILE", ""),
    ],
)
def test_what_can_work_is_no_fault(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    assert hub_settings.fault() is None


def test_a_proxy_for_nothing_is_no_fault(monkeypatch):
    monkeypatch.setenv("all_proxy", "socks://127.0.0.1:7890/")
    monkeypatch.setenv("no_proxy", "localhost, *")
    assert hub_settings.fault() is None
    assert hub_settings.proxy_variable() is None


def test_the_proxy_and_the_cache_go_by_their_own_names(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:80")
    assert hub_settings.proxy_variable() == "HTTP_PROXY"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert hub_settings.proxy_variable() is None
    monkeypatch.setenv("HUGGINGFACE_HUB_CACHE", "/data")
    assert hub_settings.cache_variable() == "HUGGINGFACE_HUB_CACHE"
    monkeypatch.setenv("HF_HUB_CACHE", "/data")
    assert hub_settings.cache_variable() == "HF_HUB_CACHE"
