"""The operator's list of stores, and what a person reads when it is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from trimtab.adapters.store_config import BadStores, StoreConfig, StoreKind, configured_stores, read_stores

URL = "https://metrics.example.test"


def listed(tmp_path: Path, *stores: dict[str, Any]) -> str:
    path = tmp_path / "stores.yaml"
    path.write_text(yaml.safe_dump({"stores": list(stores)}))
    return str(path)


def file(tmp_path: Path, name: str) -> str:
    (tmp_path / name).write_text("x")
    return str(tmp_path / name)


def test_everything_can_be_said(tmp_path: Path) -> None:
    names = ("token", "password", "ca", "cert", "key", "api-key")
    token, password, ca, cert, key, header = (file(tmp_path, name) for name in names)
    found = read_stores(
        listed(
            tmp_path,
            {"name": "plain", "url": "http://p:9090/"},
            {
                "name": "long-term",
                "kind": "Thanos",
                "url": f"{URL}/query",
                "auth": {"bearerTokenFile": token},
                "tls": {"caFile": ca, "certFile": cert, "keyFile": key},
                "replicaLabels": ["replica"],
            },
            {
                "name": "team",
                "kind": "Mimir",
                "url": f"{URL}/prometheus",
                "auth": {"basic": {"username": "ops", "passwordFile": password}},
                "headers": [{"name": "X-Api-Key", "valueFile": header}],
                "tenant": "team-a|team-b",
            },
            {"name": "fast", "kind": "VictoriaMetrics", "url": f"{URL}/select/0/prometheus"},
        )
    )
    assert found == (
        StoreConfig("plain", "http://p:9090"),
        StoreConfig(
            "long-term",
            f"{URL}/query",
            StoreKind.THANOS,
            token_file=token,
            ca_file=ca,
            cert_file=cert,
            key_file=key,
            replica_labels=("replica",),
        ),
        StoreConfig(
            "team",
            f"{URL}/prometheus",
            StoreKind.MIMIR,
            username="ops",
            password_file=password,
            headers=(("X-Api-Key", header),),
            tenant="team-a|team-b",
        ),
        StoreConfig("fast", f"{URL}/select/0/prometheus", StoreKind.VICTORIA_METRICS),
    )


def test_the_address_in_the_environment_is_the_default(tmp_path: Path) -> None:
    path = listed(tmp_path, {"name": "long-term", "kind": "Thanos", "url": URL})
    found = configured_stores("http://p:9090", "/token", path)
    assert [s.name for s in found] == ["default", "long-term"]
    assert found[0] == StoreConfig("default", "http://p:9090", token_file="/token")
    assert [s.name for s in configured_stores("", None, path)] == ["long-term"]


def test_a_name_is_given_once(tmp_path: Path) -> None:
    path = listed(tmp_path, {"name": "default", "url": URL})
    with pytest.raises(BadStores, match=r"'default' is also what TRIMTAB_PROMETHEUS_URL names; unset it or"):
        configured_stores("http://p:9090", None, path)
    assert [s.name for s in configured_stores("", None, path)] == ["default"]


@pytest.mark.parametrize(
    ("store", "words"),
    [
        ({}, "stores[0].name: is required; add it"),
        ({"url": URL, "name": "long term"}, "stores[0].name: "),
        ({"url": "p:9090"}, "stores[0].url: is not an http or https address; write it like http://"),
        ({"url": "http://a:b@p"}, "stores[0].url: holds credentials; write it like"),
        ({"url": "http://p?token=1"}, "stores[0].url: holds a query or a fragment"),
        ({"url": "http://p:99999"}, "stores[0].url: is not an http or https address"),
        ({"kind": "Cortex"}, "stores[0].kind"),
        ({"token": "abc"}, "stores[0].token"),
        ({"auth": {}}, "stores[0].auth: needs exactly one of bearerTokenFile, basic"),
        ({"auth": {"bearerTokenFile": "/a", "basic": {"username": "u", "passwordFile": "/b"}}}, "exactly one of"),
        ({"auth": {"basic": {"username": "a:b", "passwordFile": "/b"}}}, "stores[0].auth.basic.username: a user name"),
        ({"auth": {"bearerTokenFile": "/nowhere/token"}}, "stores[a]: '/nowhere/token' is not a file; mount it"),
        ({"tls": {"certFile": "/c"}}, "stores[0].tls: certFile and keyFile belong together"),
        ({"tls": {"caFile": "/c"}, "url": "http://p"}, "stores[0].tls: tls needs an https address"),
        ({"headers": [{"name": "Authorization", "valueFile": "/h"}]}, "is no name of a header that may be added"),
        ({"headers": [{"name": "a: b", "valueFile": "/h"}]}, "is no name of a header that may be added"),
        ({"tenant": "team-a"}, "stores[0].tenant: only a Mimir has tenants; set kind to Mimir"),
        ({"tenant": "a b", "kind": "Mimir"}, "stores[0].tenant: must match"),
        ({"replicaLabels": ["r"]}, "stores[0].replicaLabels: only Thanos takes replicaLabels"),
    ],
)
def test_what_is_wrong_is_one_line_with_field_and_remedy(tmp_path: Path, store: dict[str, Any], words: str) -> None:
    full = {"name": "a", "url": URL} | store if store else {"url": URL}
    with pytest.raises(BadStores) as caught:
        read_stores(listed(tmp_path, full))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "stores: is required; add it"),
        ("stores: []", "stores: needs at least 1 items"),
        ("stores: [", "is no YAML"),
        ("stores: [{name: a, url: 'http://p', url: 'http://q'}]", "a key is repeated"),
        ("stores: [{name: a, url: 'http://p'}, {name: a, url: 'http://q'}]", "Duplicate value"),
        ("stores: 5", "stores: must be a list"),
        ("[]", "must be an object"),
        ("\udcff".encode("utf-8", "surrogateescape").decode("latin-1") * 300_000, "is larger than 262,144 bytes"),
        ("stores: [*a]", "is no YAML"),
        ("stores: !!python/object:os.system {}", "is no YAML"),
    ],
)
def test_files_that_are_no_list_of_stores(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "stores.yaml"
    path.write_text(text)
    with pytest.raises(BadStores) as caught:
        read_stores(str(path))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(BadStores, match=r"cannot be read \(No such file or directory\); mount the file or correct"):
        read_stores("/nowhere/stores.yaml")
