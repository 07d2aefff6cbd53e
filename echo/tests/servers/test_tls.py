"""The servers' contract over TLS, as far as it depends on the transport.

TLS has no half-close, and asyncio and Twisted end a TLS stream in different ways.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from echo.tests.live import TLS_COMMANDS, LiveSite, SecureSite, wait_until
from echo.tests.servers.conftest import Connect
from echo.tests.servers.frames import Opcode, encode
from echo.tests.servers.test_closing import (
    test_a_close_in_a_fragmented_message_is_a_close,
    test_a_close_that_crosses_the_servers_own_ends_the_stream,
    test_a_close_without_a_code_is_answered_without_a_code,
    test_a_message_over_the_cap_closes_1009_while_it_is_still_being_sent,
    test_a_reason_of_any_length_comes_back,
    test_fragments_are_over_the_cap_together,
    test_invalid_utf_8_closes_1007,
    test_messages_followed_by_an_error_in_one_packet_come_back_first,
    test_what_follows_a_close_is_discarded,
)
from echo.tests.servers.test_handshake import (
    test_a_handshake_without_a_host_is_refused_with_400,
    test_an_unknown_path_is_refused_with_404,
    test_another_version_of_the_protocol_is_refused,
)
from echo.tests.servers.test_knobs import (
    test_a_large_message_is_flushed_before_the_drop,
    test_the_connection_is_dropped_after_what_was_due,
    test_the_handshake_is_refused_with_the_status_asked_for,
    test_the_server_closes_with_the_code_and_reason_asked_for,
)
from echo.tests.servers.test_messages import (
    test_a_large_message_followed_by_a_close_comes_back_first,
    test_a_message_comes_back_with_its_type_in_one_unmasked_frame,
    test_messages_come_back_in_order,
)
from echo.tests.servers.test_shutdown import (
    test_every_client_gets_1012_when_the_server_stops,
)
from echo.tests.tcp import has_connection

# pytest collects them here once more, with the fixtures below.
__all__ = [
    "test_a_close_in_a_fragmented_message_is_a_close",
    "test_a_close_that_crosses_the_servers_own_ends_the_stream",
    "test_a_close_without_a_code_is_answered_without_a_code",
    "test_a_handshake_without_a_host_is_refused_with_400",
    "test_a_large_message_followed_by_a_close_comes_back_first",
    "test_a_large_message_is_flushed_before_the_drop",
    "test_a_message_comes_back_with_its_type_in_one_unmasked_frame",
    "test_a_message_over_the_cap_closes_1009_while_it_is_still_being_sent",
    "test_a_reason_of_any_length_comes_back",
    "test_an_unknown_path_is_refused_with_404",
    "test_another_version_of_the_protocol_is_refused",
    "test_every_client_gets_1012_when_the_server_stops",
    "test_fragments_are_over_the_cap_together",
    "test_invalid_utf_8_closes_1007",
    "test_messages_come_back_in_order",
    "test_messages_followed_by_an_error_in_one_packet_come_back_first",
    "test_the_connection_is_dropped_after_what_was_due",
    "test_the_handshake_is_refused_with_the_status_asked_for",
    "test_the_server_closes_with_the_code_and_reason_asked_for",
    "test_what_follows_a_close_is_discarded",
]

SITES: dict[str, tuple[str, tuple[str, ...]]] = {
    **{server: (server, ()) for server in TLS_COMMANDS},
    # Another implementation of TLS than uvloop's.
    "uvicorn on asyncio": ("uvicorn", ("--loop", "asyncio")),
}


@pytest.fixture(scope="module", params=SITES)
def quiet_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveSite]:
    """The site over TLS; after these tests, its log must not have an exception."""
    server, arguments = SITES[request.param]
    with SecureSite(
        server, tmp_path_factory.mktemp(server), arguments, WRITE_TIMEOUT_SECONDS="2"
    ) as site:
        yield site
    assert "Traceback" not in site.log, site.log
    assert "ERROR" not in site.log, site.log


@pytest.fixture(params=TLS_COMMANDS)
def own_site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LiveSite]:
    """A site that the test may stop."""
    with SecureSite(request.param, tmp_path) as site:
        yield site


def test_unread_echoes_cut_the_connection(
    quiet_site: LiveSite, connect: Connect
) -> None:
    connection = connect()
    with contextlib.suppress(OSError):
        while True:
            connection.send(encode(Opcode.BINARY, bytes(64 * 1024)))
    port, client_port = quiet_site.port, connection.socket.getsockname()[1]
    wait_until(lambda: not has_connection(port, client_port), "it to be cut")
