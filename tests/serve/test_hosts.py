"""A server is called localhost, by an address, or by a name it was told; all else is a page's that leads here."""

import pytest

from mlx_trace.serve.hosts import is_loopback, name_of


@pytest.mark.parametrize(
    ("header", "name"),
    [("localhost", "localhost"), ("LocalHost.:80", "localhost"), ("127.0.0.1:8080", "127.0.0.1"), ("[::1]:80", "::1"),
     ("[::1", "::1"), ("evil.example", "evil.example"), ("127.0.0.1.evil.example:1", "127.0.0.1.evil.example"), ("", "")],
)  # fmt: skip
def test_a_name_is_what_stands_before_the_port(header: str, name: str) -> None:
    assert name_of(header) == name


@pytest.mark.parametrize(("host", "alone"), [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("0.0.0.0", False),
                                             ("::", False), ("192.168.0.2", False), ("fe80::1%eth0", False), ("x", False)])  # fmt: skip
def test_what_is_reached_from_this_machine_alone(host: str, alone: bool) -> None:
    assert is_loopback(host) == alone
