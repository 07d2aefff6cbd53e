"""The heads of a browser's requests: the header fields that Chromium sends, and no others.

Those of headless Chromium 156 on Linux, as a proxy has recorded them; the page prints the
options that make them those of the visitor's own. They are most of what a poll costs, so a
race from the shell would be far too cheap without them.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from echo.lab.racer.errors import ExitCode, RaceError

USER_AGENT = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "HeadlessChrome/156.0.8078.79 Safari/537.36"
)
BRANDS = '"Not:A-Brand";v="8", "Chromium";v="156", "HeadlessChrome";v="156"'
# The platforms of the client hints, by a word of the user agent.
PLATFORMS = {"Windows": "Windows", "Android": "Android", "Macintosh": "macOS"}

Fields = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Site:
    """Where the site is."""

    is_secure: bool
    host: str
    port: int
    authority: str  # the value of Host
    root: str  # the path below which the site is, without a slash at its end

    @classmethod
    def of(cls, url: str) -> "Site":
        """Return the site at a URL. Raises RaceError."""
        try:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError
            is_secure = parts.scheme == "https"
            return cls(
                is_secure=is_secure,
                host=parts.hostname,
                port=parts.port or (443 if is_secure else 80),
                authority=parts.netloc.rpartition("@")[2],
                root=parts.path.rstrip("/"),
            )
        except ValueError:
            raise RaceError(
                ExitCode.USAGE,
                f"--url: expected the site's address, such as http://127.0.0.1:8000, got "
                f"{url[:60]!r}",
            ) from None

    @property
    def origin(self) -> str:
        """The site's origin, as the header has it."""
        return f"{'https' if self.is_secure else 'http'}://{self.authority}"

    @property
    def is_trustworthy(self) -> bool:
        """True where browsers send client hints and Sec-Fetch-*: over TLS, or on loopback."""
        loopback = self.host in ("localhost", "127.0.0.1", "::1")
        return self.is_secure or loopback or self.host.endswith(".localhost")


@dataclass(slots=True)
class Browser:
    """What one browser says in the heads of its requests to one site."""

    site: Site
    referer: str  # the page's address
    user_agent: str = USER_AGENT
    brands: str = (
        BRANDS  # the value of sec-ch-ua; empty: a browser without client hints
    )
    accept_language: str = ""  # not sent if empty, as by a headless Chromium
    is_bare: bool = False  # only what a request cannot do without
    cookie: str = ""  # of the page

    def get(self, path: str, accept: str) -> bytes:
        """Return the head of a GET that a script makes, by fetch or EventSource."""
        caching = [("Pragma", "no-cache"), ("Cache-Control", "no-cache")]
        return self.head("GET", path, accept, caching)

    def post(self, path: str, fields: Fields) -> bytes:
        """Return the head of a POST that a script makes."""
        own = [*fields, ("Origin", self.site.origin)]
        return self.head("POST", path, "application/json", own)

    def head(self, method: str, path: str, accept: str, fields: Fields) -> bytes:
        """Return the head of a script's request."""
        mode = self.fetch_metadata() if self.site.is_trustworthy else []
        common = [
            ("Connection", "keep-alive"),
            ("User-Agent", self.user_agent),
            *mode,
            ("Referer", self.referer),
            *self.preferences(),
        ]
        needed = [("Accept", accept), *self.cookies()]
        if self.is_bare:
            wanted = [
                pair for pair in fields if pair[0] not in ("Pragma", "Cache-Control")
            ]
            return self.encode(method, path, [*wanted, *needed])
        return self.encode(method, path, [*common, *fields, *needed])

    def handshake(self, path: str, key: str) -> bytes:
        """Return the head of a WebSocket's handshake."""
        needed = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", key),
        ]
        common = [
            ("Pragma", "no-cache"),
            ("Cache-Control", "no-cache"),
            ("User-Agent", self.user_agent),
            ("Origin", self.site.origin),
            *self.preferences(),
            *self.cookies(),
            ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
        ]
        return self.encode("GET", path, needed if self.is_bare else [*needed, *common])

    def fetch_metadata(self) -> Fields:
        """Return the client hints, and what kind of request it is."""
        fields = [
            ("Sec-Fetch-Site", "same-origin"),
            ("Sec-Fetch-Mode", "cors"),
            ("Sec-Fetch-Dest", "empty"),
        ]
        if self.brands:
            names = [PLATFORMS[word] for word in PLATFORMS if word in self.user_agent]
            fields += [
                ("sec-ch-ua-platform", f'"{(names or ["Linux"])[0]}"'),
                ("sec-ch-ua", self.brands),
                ("sec-ch-ua-mobile", "?1" if "Mobile" in self.user_agent else "?0"),
            ]
        return fields

    def preferences(self) -> Fields:
        codings = (
            "gzip, deflate, br, zstd" if self.site.is_trustworthy else "gzip, deflate"
        )
        fields = [("Accept-Encoding", codings)]
        if self.accept_language:
            fields.append(("Accept-Language", self.accept_language))
        return fields

    def cookies(self) -> Fields:
        return [("Cookie", self.cookie)] if self.cookie else []

    def encode(self, method: str, path: str, fields: Fields) -> bytes:
        """Return a request's head: request line, Host, fields, and the empty line."""
        lines = [
            f"{method} {self.site.root}{path} HTTP/1.1",
            f"Host: {self.site.authority}",
            *(f"{name}: {value}" for name, value in fields),
        ]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")
