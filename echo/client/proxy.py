"""Opens the stream that a WebSocket runs over: TCP, through a proxy where one is set.

The environment's ``http_proxy``, ``https_proxy``, ``ws_proxy``, ``wss_proxy`` and
``no_proxy`` are honoured as gorilla's dialer honours them: never for loopback.
"""

import asyncio
import ssl
from ipaddress import ip_address

from websockets.exceptions import InvalidProxy
from websockets.proxy import Proxy, get_proxy, parse_proxy, prepare_connect_request
from websockets.uri import WebSocketURI

from echo.client.errors import ClientError, ExitCode
from echo.client.escaping import escape

# How much of what a proxy says an error quotes.
SHOWN_CHARACTERS = 200

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def open_stream(uri: WebSocketURI, tls: ssl.SSLContext | None) -> Stream:
    """A stream to the server, encrypted where ``tls`` is given. Raises ClientError, OSError."""
    proxy = None if is_loopback(uri.host) else get_proxy(uri)
    if proxy is None:
        return await asyncio.open_connection(uri.host, uri.port, ssl=tls)
    return await tunnel(http_proxy(proxy), uri, tls)


def is_loopback(host: str) -> bool:
    """True for this machine's own addresses: localhost, 127.0.0.0/8 and ::1."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def http_proxy(url: str) -> Proxy:
    """The proxy of the environment, which must be a plain HTTP one."""
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
    """A stream to the server through the proxy, which is asked with CONNECT."""
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
