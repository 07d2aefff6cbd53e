"""Opens a connection: network, TLS and handshake; turns each failure into a ClientError."""

import asyncio
import errno
import ssl

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidMessage, InvalidStatus
from websockets.http11 import Response
from websockets.typing import Origin, Subprotocol

from echo.client.connection import ClientConnection, Watch
from echo.client.errors import ClientError, ExitCode
from echo.client.escaping import escape
from echo.client.options import Options
from echo.client.proxy import open_stream

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
# The same handshake may succeed later after one of these.
RETRY_STATUSES = frozenset({408, 429, 500, 502, 503, 504})


async def connect(options: Options, watch: Watch) -> ClientConnection:
    """Return an open connection. Raises ClientError."""
    try:
        async with asyncio.timeout(options.timeout):
            return await attempt(options, watch)
    except TimeoutError:
        raise ClientError(
            ExitCode.TIMEOUT,
            f"expected {options.url} to open within {options.timeout:g} s, got no whole "
            "answer; --timeout waits longer",
            retry=True,
        ) from None
    except ssl.SSLError as error:
        raise tls_problem(options, error) from None
    except OSError as error:
        raise network_problem(options, error) from None
    except InvalidStatus as error:
        raise refusal(options, error.response) from None
    except InvalidHandshake as error:
        raise handshake_problem(options, error) from None


async def attempt(options: Options, watch: Watch) -> ClientConnection:
    """Return an open connection. Raises the errors of asyncio, ssl and websockets."""
    core = ClientProtocol(
        options.uri,
        origin=None if options.origin is None else Origin(options.origin),
        subprotocols=[Subprotocol(name) for name in options.subprotocols] or None,
        max_size=MAX_MESSAGE_BYTES,
    )
    tls = tls_context(options) if options.uri.secure else None
    connection = ClientConnection(core, *await open_stream(options.uri, tls), watch)
    try:
        await connection.handshake(options.headers)
    except BaseException:
        connection.abort()
        raise
    return connection


def tls_context(options: Options) -> ssl.SSLContext:
    """Return a context that checks the server's certificate, unless ``-k`` is given."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def tls_problem(options: Options, error: ssl.SSLError) -> ClientError:
    """Return the error for an untrusted certificate, or a server without TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        got = escape(error.verify_message.rstrip("."))
        text = (
            f"expected a trusted certificate from {options.url}, got: {got}; "
            "-k accepts any, SSL_CERT_FILE names one to trust"
        )
    else:
        got = escape(error.reason or str(error))
        text = f"expected TLS from {options.url}, got: {got}; is it a ws:// server?"
    return ClientError(ExitCode.NOT_CONNECTED, text)


def network_problem(options: Options, error: OSError) -> ClientError:
    """Return the error for a refused connection, an unknown name or a network failure."""
    host, port = options.uri.host, options.uri.port
    got = escape(error.strerror or str(error))
    # asyncio joins the errors of several addresses into one text without an errno.
    if isinstance(error, ConnectionRefusedError) or (
        f"[Errno {errno.ECONNREFUSED}]" in str(error)
    ):
        got = "connection refused, nobody listens there; start the server or check the port"
    if not got:  # asyncio's error for a stream that ends during the TLS handshake
        got = "the server ended the connection during the TLS handshake"
    if options.uri.secure and isinstance(error, ConnectionResetError):
        got += "; is it a ws:// server?"
    return ClientError(
        ExitCode.NOT_CONNECTED, f"cannot connect to {host}:{port}: {got}", retry=True
    )


def refusal(options: Options, response: Response) -> ClientError:
    """Return the error for a status other than 101, with the whole response."""
    status = f"{response.status_code} {response.reason_phrase}".strip()
    lines = [f"expected 101 from {options.url}, got {status}"]
    lines += [f"{name}: {value}" for name, value in response.headers.raw_items()]
    if response.body:
        body = bytes(response.body).decode(errors="backslashreplace").rstrip()
        lines += ["", *body.splitlines()]
    return ClientError(
        ExitCode.NOT_CONNECTED,
        "\n".join(escape(line) for line in lines),
        retry=response.status_code in RETRY_STATUSES,
    )


def handshake_problem(options: Options, error: InvalidHandshake) -> ClientError:
    """Return the error for a response that is not a valid handshake."""
    cause = error.__cause__ if isinstance(error, InvalidMessage) else error
    return ClientError(
        ExitCode.NOT_CONNECTED,
        f"expected a WebSocket handshake from {options.url}, got: {escape(str(cause))}",
        retry=isinstance(cause, EOFError),
    )
