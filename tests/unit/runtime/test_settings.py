"""Settings from the environment, and what a person reads when one is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trimtab.runtime.settings import InvalidSetting, Settings

GOOD = {"TRIMTAB_PROMETHEUS_URL": "http://prometheus.monitoring:9090/", "TRIMTAB_LEASE_NAMESPACE": "trimtab-system"}


def test_little_is_needed() -> None:
    settings = Settings.from_environment(GOOD)
    assert settings == Settings(
        prometheus_url="http://prometheus.monitoring:9090", lease_namespace="trimtab-system", namespaces=()
    )
    assert (settings.http_host, settings.http_port, settings.lease_duration) == ("0.0.0.0", 8080, 15.0)


def test_everything_can_be_set(tmp_path: Path) -> None:
    token, kubeconfig = tmp_path / "token", tmp_path / "kubeconfig"
    token.write_text("t")
    kubeconfig.write_text("{}")
    stores = tmp_path / "stores.yaml"
    stores.write_text("stores: []")
    settings = Settings.from_environment(
        {
            "TRIMTAB_NAMESPACE": "shop, web,shop",
            "TRIMTAB_PROMETHEUS_URL": "https://prometheus.example.test/path",
            "TRIMTAB_PROMETHEUS_TOKEN_FILE": str(token),
            "TRIMTAB_TELEMETRY_FILE": str(stores),
            "TRIMTAB_QUERY_LIMIT": "300",
            "TRIMTAB_HTTP_HOST": "127.0.0.1",
            "TRIMTAB_HTTP_PORT": "0",
            "TRIMTAB_LEASE_NAMESPACE": "ops",
            "TRIMTAB_LEASE_NAME": "trimtab-shop",
            "TRIMTAB_LEASE_DURATION": "3",
            "TRIMTAB_LOG_FORMAT": "console",
            "TRIMTAB_LOG_LEVEL": "DEBUG",
            "TRIMTAB_KUBECONFIG": str(kubeconfig),
            "TRIMTAB_WORKERS": "2",
            "TRIMTAB_RESYNC": "1.5",
        }
    )
    assert settings == Settings(
        prometheus_url="https://prometheus.example.test/path",
        lease_namespace="ops",
        namespaces=("shop", "web"),
        prometheus_token_file=str(token),
        telemetry_file=str(stores),
        query_limit=300,
        http_host="127.0.0.1",
        http_port=0,
        lease_name="trimtab-shop",
        lease_duration=3.0,
        log_format="console",
        log_level="DEBUG",
        kubeconfig=str(kubeconfig),
        workers=2,
        resync=1.5,
    )


def test_a_blank_name_of_a_file_is_none() -> None:
    with pytest.raises(InvalidSetting, match="TRIMTAB_PROMETHEUS_URL: is not set"):
        Settings.from_environment({"TRIMTAB_TELEMETRY_FILE": " ", "TRIMTAB_LEASE_NAMESPACE": "ops"})


def test_a_file_of_stores_alone_is_enough(tmp_path: Path) -> None:
    (tmp_path / "stores.yaml").write_text("stores: []")
    environment = {"TRIMTAB_TELEMETRY_FILE": str(tmp_path / "stores.yaml"), "TRIMTAB_LEASE_NAMESPACE": "ops"}
    assert Settings.from_environment(environment).prometheus_url == ""


def test_a_pod_knows_its_own_namespace(tmp_path: Path) -> None:
    (tmp_path / "namespace").write_text("trimtab\n")
    environment = {"TRIMTAB_PROMETHEUS_URL": "http://p:9090"}
    assert Settings.from_environment(environment, tmp_path / "namespace").lease_namespace == "trimtab"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("TRIMTAB_PROMETHEUS_URL", "", "is not set; set it to Prometheus' address"),
        ("TRIMTAB_PROMETHEUS_URL", " ", "is not set; set it to Prometheus' address"),
        ("TRIMTAB_PROMETHEUS_URL", "prometheus:9090", "'prometheus:9090' is not an http or https address"),
        ("TRIMTAB_PROMETHEUS_URL", "http://", "is not an http or https address"),
        ("TRIMTAB_PROMETHEUS_URL", "http://p:99999", "is not an http or https address"),
        ("TRIMTAB_PROMETHEUS_URL", "http://a:b@p:9090", "holds credentials; use TRIMTAB_PROMETHEUS_TOKEN_FILE instead"),
        ("TRIMTAB_PROMETHEUS_TOKEN_FILE", "/nowhere", "'/nowhere' is not a file; mount the file or correct the path"),
        ("TRIMTAB_TELEMETRY_FILE", "/nowhere", "'/nowhere' is not a file; mount the file or correct the path"),
        ("TRIMTAB_QUERY_LIMIT", "60", "60 is out of range; use a whole number from 120 to 1e+06"),
        ("TRIMTAB_KUBECONFIG", "/nowhere", "'/nowhere' is not a file"),
        ("TRIMTAB_HTTP_PORT", "http", "'http' is not a whole number; use a whole number from 0 to 65535"),
        ("TRIMTAB_HTTP_PORT", "65536", "65536 is out of range"),
        ("TRIMTAB_HTTP_PORT", "-1", "-1 is out of range"),
        ("TRIMTAB_LEASE_DURATION", "nan", "nan is out of range; use a number of seconds from 3 to 120"),
        ("TRIMTAB_RESYNC", "inf", "inf is out of range"),
        ("TRIMTAB_LOG_FORMAT", "xml", "'xml' is not known; use one of json, console"),
        ("TRIMTAB_LOG_LEVEL", "debug", "'debug' is not known; use one of DEBUG, INFO, WARNING, ERROR"),
        ("TRIMTAB_NAMESPACE", "shop,Web", "'Web' is not the name of a namespace"),
        ("TRIMTAB_NAMESPACE", "*", "'*' is not the name of a namespace; use namespace names separated by commas"),
        ("TRIMTAB_LEASE_NAMESPACE", "", "is not set and this is not a pod; set it to the operator's own namespace"),
    ],
)
def test_a_bad_value_names_its_variable_and_the_remedy(variable: str, value: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting) as caught:
        Settings.from_environment(GOOD | {variable: value}, tmp_path / "absent")
    text = str(caught.value)
    assert text.startswith(f"{variable}: ")
    assert message in text
    assert "\n" not in text
    assert caught.value.variable == variable


def test_the_reference_names_every_variable() -> None:
    root = Path(__file__).resolve().parents[3]
    sources = "".join((root / "operator" / "trimtab" / "runtime" / f"{m}.py").read_text() for m in ("settings", "main"))
    read = {name for name in re.findall(r"TRIMTAB_[A-Z_]+", sources) if not name.endswith("_")}
    page = (root / "docs" / "reference" / "settings.md").read_text()
    listed = set(re.findall(r"^\| `(TRIMTAB_[A-Z_]+)`", page, re.MULTILINE))
    assert listed == read
