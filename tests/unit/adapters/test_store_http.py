"""What goes over the wire to each kind of store: credentials that rotate, TLS, tenants, and no partial answers."""

from __future__ import annotations

import base64
import os
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from tests.contract.test_telemetry import ERRORS, EVERYTHING, VALUE, WINDOW, pods
from tests.unit.slo.loopback import Behaviour, Loopback

from trimtab.adapters.prometheus import PrometheusTelemetry
from trimtab.adapters.prometheus_client import PrometheusClient
from trimtab.adapters.series_store import QueryFailed
from trimtab.adapters.store_config import StoreConfig, StoreKind
from trimtab.adapters.store_credentials import REREAD_SECONDS, SecretFile
from trimtab.domain.measurement import Reading, Sample, TelemetryError
from trimtab.ports import SliRequest

TIMEOUT = 30.0  # nothing here waits for it


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback(EVERYTHING) as made:
        yield made


def store(server: Loopback, kind: StoreKind = StoreKind.PROMETHEUS) -> StoreConfig:
    return StoreConfig("long-term", server.url, kind)


async def ask(telemetry: PrometheusTelemetry, timeout: float = TIMEOUT) -> Reading:
    return (await telemetry.read([SliRequest(ERRORS, pods("plain"), WINDOW)], timeout=timeout))[0]


async def asked_once(config: StoreConfig) -> Reading:
    """No query outlives it: one that met a server just gone would leave Python's TLS a socket unclosed."""
    telemetry = PrometheusTelemetry(config, threads=1)
    try:
        return await ask(telemetry)
    finally:
        telemetry.close(wait=True)


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def replaced(path: Path, text: str) -> None:
    """As a mounted Secret changes: another file under the same name."""
    other = path.with_suffix(".new")
    other.write_text(text)
    other.rename(path)


def spoil(path: Path, how: str) -> None:
    if how == "gone":
        path.unlink()
    else:
        path.write_text("no PEM")


def bearer(token: str) -> Callable[[Mapping[str, str]], bool]:
    return lambda headers: headers.get("authorization") == f"Bearer {token}"


class TestCredentials:
    async def test_basic(self, server: Loopback, tmp_path: Path) -> None:
        password = written(tmp_path / "password", "p:ä ss\n")
        assert isinstance(await asked_once(replace(store(server), username="ops", password_file=password)), Sample)
        expected = base64.b64encode("ops:p:ä ss".encode()).decode()
        assert {h["authorization"] for h in server.headers} == {f"Basic {expected}"}

    async def test_further_headers_come_from_files(self, server: Loopback, tmp_path: Path) -> None:
        key = written(tmp_path / "key", "k-1\n")
        telemetry = PrometheusTelemetry(replace(store(server), headers=(("X-Api-Key", key),)))
        await ask(telemetry)
        replaced(tmp_path / "key", "k-2\n")
        await ask(telemetry)
        telemetry.close()
        assert [h["x-api-key"] for h in server.headers] == ["k-1", "k-1", "k-2", "k-2"]

    async def test_a_store_without_credentials_gets_none(self, server: Loopback) -> None:
        await asked_once(store(server))
        assert not {"authorization", "cookie", "x-scope-orgid"} & {name for h in server.headers for name in h}

    async def test_a_secret_replaced_within_its_time_and_size_is_seen_by_the_refusal(
        self, server: Loopback, tmp_path: Path
    ) -> None:
        """Not to be told from the old one by looking at the file: the 401 says that it was replaced."""
        token = tmp_path / "token"
        telemetry = PrometheusTelemetry(replace(store(server), token_file=written(token, "old1")), threads=1)
        server.behaviour = Behaviour(admits=bearer("old1"))
        assert isinstance(await ask(telemetry), Sample)
        before = token.stat()
        token.write_text("new1")
        os.utime(token, ns=(before.st_atime_ns, before.st_mtime_ns))
        server.behaviour = Behaviour(admits=bearer("new1"))
        server.headers.clear()
        assert isinstance(await ask(telemetry), Sample)
        telemetry.close()
        assert [h["authorization"] for h in server.headers] == ["Bearer old1", "Bearer new1", "Bearer new1"]

    async def test_a_refusal_of_the_right_secret_is_not_tried_again(self, server: Loopback, tmp_path: Path) -> None:
        server.behaviour = Behaviour(admits=bearer("another"))
        client = PrometheusClient(replace(store(server), token_file=written(tmp_path / "token", "t0ken")))
        with pytest.raises(QueryFailed, match="HTTP 401"):
            await client.vector("a", WINDOW.end, TIMEOUT)
        client.close()
        assert len(server.headers) == 1

    @pytest.mark.parametrize("how", ["bearer", "basic", "header"])
    async def test_a_page_that_repeats_the_secret_does_not_bring_it_into_a_status(
        self, server: Loopback, tmp_path: Path, how: str
    ) -> None:
        secret = written(tmp_path / "secret", "s3cr3t-value")
        config = {
            "bearer": replace(store(server), token_file=secret),
            "basic": replace(store(server), username="ops", password_file=secret),
            "header": replace(store(server), headers=(("X-Api-Key", secret),)),
        }[how]
        pair = base64.b64encode(b"ops:s3cr3t-value").decode()
        server.behaviour = Behaviour(502, f"bad gateway: s3cr3t-value {pair}".encode())
        found = await asked_once(config)
        assert isinstance(found, TelemetryError)
        assert found.detail.startswith("HTTP 502: bad gateway: (hidden)")
        assert "s3cr3t" not in found.detail
        assert how != "basic" or pair not in found.detail
        server.behaviour = Behaviour(warnings=("sent s3cr3t-value",))
        again = await asked_once(config)
        assert isinstance(again, TelemetryError)
        assert again.detail.endswith("sent (hidden)")

    @pytest.mark.parametrize(
        ("text", "words"),
        [("", "is empty"), (" \n", "is empty"), ("a\nb", "holds a line break"), ("a\x00b", "control")],
    )
    async def test_a_file_that_no_header_can_carry(
        self, server: Loopback, tmp_path: Path, text: str, words: str
    ) -> None:
        found = await asked_once(replace(store(server), token_file=written(tmp_path / "token", text)))
        assert isinstance(found, TelemetryError)
        assert words in found.detail
        assert str(tmp_path) not in found.detail
        assert server.asked == []

    def test_a_secret_that_cannot_be_read_for_a_moment_stands(self, tmp_path: Path) -> None:
        now = [0.0]
        path = tmp_path / "token"
        secret = SecretFile(written(path, "one"), "token", lambda: now[0])
        assert secret.text() == "one"
        path.unlink()
        assert secret.text() == "one"
        path.write_text("two")
        assert secret.text() == "two"

    def test_each_minute_it_is_read_whatever_its_time_says(self, tmp_path: Path) -> None:
        now = [0.0]
        path = tmp_path / "token"
        secret = SecretFile(written(path, "one"), "token", lambda: now[0])
        assert secret.text() == "one"
        before = path.stat()
        path.write_text("two")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert secret.text() == "one"
        now[0] = REREAD_SECONDS
        assert secret.text() == "two"

    def test_a_config_holds_no_secret(self, server: Loopback, tmp_path: Path) -> None:
        config = replace(store(server), token_file=written(tmp_path / "token", "s3cr3t"))
        assert "s3cr3t" not in repr(config)


class TestKinds:
    async def test_mimir_gets_its_tenant_and_no_cache(self, server: Loopback) -> None:
        config = replace(store(server, StoreKind.MIMIR), tenant="team-a|team-b")
        assert isinstance(await asked_once(config), Sample)
        assert {(h["x-scope-orgid"], h["cache-control"]) for h in server.headers} == {("team-a|team-b", "no-store")}

    async def test_thanos_answers_in_whole_from_raw_samples_without_doubles(self, server: Loopback) -> None:
        config = replace(store(server, StoreKind.THANOS), replica_labels=("replica", "rule_replica"))
        assert isinstance(await asked_once(config), Sample)
        for form in server.asked:
            assert (form["partial_response"], form["dedup"], form["max_source_resolution"]) == ("false", "true", "0s")
            assert form["replicaLabels[]"] == "replica"  # the server keeps the first of a list
        assert {h["cache-control"] for h in server.headers} == {"no-store"}

    async def test_victoria_metrics_answers_of_now(self, server: Loopback) -> None:
        telemetry = PrometheusTelemetry(store(server, StoreKind.VICTORIA_METRICS))
        for sli, namespace in ((ERRORS, "plain"), (VALUE, "gauge")):
            (found,) = await telemetry.read([SliRequest(sli, pods(namespace), WINDOW)], timeout=TIMEOUT)
            assert isinstance(found, Sample)
        telemetry.close()
        assert {a["path"] for a in server.asked} == {"/api/v1/query", "/api/v1/query_range"}
        for form in server.asked:
            assert (form["nocache"], form["latency_offset"], form["max_lookback"]) == ("1", "1ms", "5m")
            assert form["deny_partial_response"] == "1"

    @pytest.mark.parametrize("kind", list(StoreKind))
    async def test_no_partial_answer_is_taken_for_a_whole(self, server: Loopback, kind: StoreKind) -> None:
        for behaviour in (Behaviour(partial=True), Behaviour(warnings=("store-2: connection refused",))):
            server.behaviour = behaviour
            found = await asked_once(store(server, kind))
            assert isinstance(found, TelemetryError)
            assert found.detail.startswith("a partial answer")

    async def test_a_remark_is_no_warning_where_a_store_lists_them_together(self, server: Loopback) -> None:
        """A querier of Thanos does so: of counters that are not named `_total` nothing would be readable."""
        remark = 'PromQL info: metric might not be a counter, name does not end in _total: "upstream_rq"'
        server.behaviour = Behaviour(warnings=(remark,))
        assert isinstance(await asked_once(store(server, StoreKind.THANOS)), Sample)
        server.behaviour = Behaviour(warnings=(remark, "store-2: connection refused"))
        found = await asked_once(store(server, StoreKind.THANOS))
        assert isinstance(found, TelemetryError)
        assert found.detail == "a partial answer, with the warning: store-2: connection refused"

    async def test_a_prefix_of_the_address_is_kept(self, server: Loopback) -> None:
        config = replace(store(server), url=f"{server.url}/prometheus/")
        assert isinstance(await asked_once(config), Sample)
        assert {a["path"] for a in server.asked} == {"/prometheus/api/v1/query"}

    async def test_a_redirect_does_not_carry_credentials_away(self, server: Loopback, tmp_path: Path) -> None:
        with Loopback(EVERYTHING) as elsewhere:
            server.behaviour = Behaviour(307, b"", headers=(("Location", f"{elsewhere.url}/api/v1/query"),))
            token = written(tmp_path / "token", "t0ken")
            found = await asked_once(replace(store(server, StoreKind.MIMIR), token_file=token, tenant="a"))
            assert isinstance(found, TelemetryError)
            assert "HTTP 307: the store sends elsewhere" in found.detail
            assert elsewhere.asked == []


class Pki:
    """An authority, a server that asks for a certificate of it, and files of a client."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.authority = directory, trustme.CA()
        self.ca = directory / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))
        self.cert, self.key = directory / "client.pem", directory / "client.key"
        self.issue(self.authority, "first.test")

    def issue(self, authority: trustme.CA, name: str) -> None:
        made = authority.issue_cert(name, common_name=name)
        replaced(self.cert, b"".join(blob.bytes() for blob in made.cert_chain_pems).decode())
        replaced(self.key, made.private_key_pem.bytes().decode())

    def server(self) -> Loopback:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("127.0.0.1").configure_cert(context)
        self.authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        return Loopback(EVERYTHING, tls=context)

    def store(self, url: str) -> StoreConfig:
        return StoreConfig("tls", url, ca_file=str(self.ca), cert_file=str(self.cert), key_file=str(self.key))


class TestTls:
    async def test_both_sides_show_a_certificate(self, tmp_path: Path) -> None:
        pki = Pki(tmp_path)
        with pki.server() as server:
            assert isinstance(await asked_once(pki.store(server.url)), Sample)

    async def test_a_client_without_a_certificate_is_turned_away(self, tmp_path: Path) -> None:
        pki = Pki(tmp_path)
        with pki.server() as server:
            found = await asked_once(replace(pki.store(server.url), cert_file=None, key_file=None))
            assert isinstance(found, TelemetryError)
            assert server.asked == []

    async def test_a_server_of_another_authority_is_not_asked(self, tmp_path: Path) -> None:
        pki = Pki(tmp_path)
        trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
        with pki.server() as server:
            for ca in (str(tmp_path / "other.pem"), None):
                found = await asked_once(replace(pki.store(server.url), ca_file=ca))
                assert isinstance(found, TelemetryError)
                assert "SSLError" in found.detail
            assert server.asked == []

    async def test_a_certificate_that_was_replaced_is_shown_from_the_next_query_on(self, tmp_path: Path) -> None:
        """Also over connections that are kept alive."""
        pki = Pki(tmp_path)
        with pki.server() as server:
            telemetry = PrometheusTelemetry(pki.store(server.url), threads=1)
            assert isinstance(await ask(telemetry), Sample)
            stranger = trustme.CA()
            pki.issue(stranger, "stranger.test")
            assert isinstance(await ask(telemetry), TelemetryError)
            pki.issue(pki.authority, "second.test")
            assert isinstance(await ask(telemetry), Sample)
            telemetry.close(wait=True)

    @pytest.mark.parametrize("which", ["cert", "key", "ca"])
    @pytest.mark.parametrize("broken", ["gone", "nonsense"])
    async def test_files_that_cannot_be_used_are_a_reading_and_no_exception(
        self, tmp_path: Path, which: str, broken: str
    ) -> None:
        pki = Pki(tmp_path)
        path: Path = getattr(pki, which)
        spoil(path, broken)
        with pki.server() as server:
            found = await asked_once(pki.store(server.url))
            assert isinstance(found, TelemetryError)
            assert str(tmp_path) not in found.detail
            assert server.asked == []


async def test_a_store_that_hangs_does_not_delay_another(server: Loopback) -> None:
    never = threading.Event()
    with Loopback(EVERYTHING) as stuck:
        stuck.behaviour = Behaviour(hold=never)
        hanging = PrometheusTelemetry(replace(store(stuck), name="stuck"), threads=1)
        assert await ask(hanging, timeout=0.1) == TelemetryError("no answer within 0.1 s")
        assert isinstance(await asked_once(store(server)), Sample)
        never.set()
        hanging.close()
