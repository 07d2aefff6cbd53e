"""Opens the stream of a WebSocket: TCP, or a tunnel through the environment's proxy.

``http_proxy``, ``https_proxy``, ``ws_proxy``, ``wss_proxy`` and ``no_proxy`` are read as by
gorilla's dialer: never for loopback. ``websockets`` finds and parses the proxy; the tunnel
is made here, because its own hides the proxy's status line from the error.
"""

import asyncio
import ssl
from ipaddress import ip_address

from websockets.exceptions import InvalidProxy
from websockets.proxy import Proxy, get_proxy, parse_proxy, prepare_connect_request
from websockets.uri import WebSocketURI

from echo.client.errors import ClientError, ExitCode
from echo.client.escaping import escape

# How much of a proxy's address or response an error quotes.
SHOWN_CHARACTERS = 200

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def open_stream(uri: WebSocketURI, tls: ssl.SSLContext | None) -> Stream:
    """Return a stream to the server, encrypted if ``tls`` is given.

    Raises ClientError and OSError.
    """
    proxy = None if is_loopback(uri.host) else get_proxy(uri)
    if proxy is None:
        return await asyncio.open_connection(uri.host, uri.port, ssl=tls)
    return await tunnel(http_proxy(proxy), uri, tls)


def is_loopback(host: str) -> bool:
    """Return True for localhost and its subdomains, 127.0.0.0/8 and ::1."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def http_proxy(url: str) -> Proxy:
    """Return the parsed proxy. Raises ClientError unless it is a plain HTTP one."""
    try:
        proxy = parse_proxy(url)
        if proxy.scheme == "http":
            return proxy
    except (InvalidProxy, ValueError):
        pass
    raise ClientError(
        ExitCode.NOT_CONNECTED,
        "expected a proxy such as http://host:port in the environment, got "
        f"{escape(url[:SHOWN_CHARACTERS])}; set no_proxy to connect without it",
    )


async def tunnel(proxy: Proxy, uri: WebSocketURI, tls: ssl.SSLContext | None) -> Stream:
    """Return a stream to the server through the proxy, which gets a CONNECT request."""
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    try:
        writer.write(prepare_connect_request(proxy, uri, None))
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status = head.partition("\r\n")[0][:SHOWN_CHARACTERS]
        if status.split(" ")[1:2] != ["200"]:
            raise ClientError(
                ExitCode.NOT_CONNECTED,
                f"expected 200 from the proxy {proxy.host}:{proxy.port}, "
                f"got {escape(status)}",
            )
        if tls is not None:
            await writer.start_tls(tls, server_hostname=uri.host)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        writer.close()
        raise ClientError(
            ExitCode.NOT_CONNECTED,
            f"expected HTTP from the proxy {proxy.host}:{proxy.port}, got something else",
        ) from None
    except BaseException:
        writer.close()
        raise
    return reader, writer
