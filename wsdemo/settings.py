"""The Django settings, from the environment; nothing else in the project reads it.

With no configuration at all: DEBUG on, SQLite in ``var/``, an in-memory channel layer.
``REDIS_URL`` and ``DATABASE_URL`` switch those two parts. With ``DEBUG=off`` a missing
``SECRET_KEY`` or ``ALLOWED_HOSTS`` is an error that names the variable.
"""

import logging
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from environs import Env, validate

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"

env = Env()
env.read_env(BASE_DIR / ".env", recurse=False)


def required_in_production(name: str, example: str) -> str:
    """Return the variable's value. Raises if it is missing and DEBUG is off."""
    value = env.str(name, "")
    if not value and not DEBUG:
        raise ImproperlyConfigured(
            f"{name} is not set, and DEBUG is off: expected {example}. Set {name} in the "
            "environment or in .env, or set DEBUG=on for development."
        )
    return value


# --- the environment -------------------------------------------------------------------

DEBUG = env.bool("DEBUG", True)
SECRET_KEY = (
    required_in_production("SECRET_KEY", "at least 50 random characters")
    or "django-insecure-development-only-key-never-use-this-in-production"
)
ALLOWED_HOSTS = [
    host.strip()
    for host in required_in_production(
        "ALLOWED_HOSTS", "host names with commas between, such as example.com"
    ).split(",")
    if host.strip()
]
# Origins other than the site's own that may open a WebSocket, such as
# https://app.example.com; `*` allows every origin.
ALLOWED_ORIGINS: list[str] = env.list("ALLOWED_ORIGINS", [])
# Full origins that may POST forms to the site; Django's own setting.
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", [])
# SQLite in var/ by default; PostgreSQL as postgres://user:password@host/name.
DATABASE: dict[str, Any] = dict(
    env.dj_db_url("DATABASE_URL", f"sqlite:///{VAR_DIR / 'db.sqlite3'}")
)
# The most connections to PostgreSQL that one process has; SQLite has one for each thread.
DATABASE_CONNECTIONS = env.int("DATABASE_CONNECTIONS", 10)
REDIS_URL = env.str("REDIS_URL", "")
# Where `collectstatic` puts the files.
STATIC_ROOT = env.path("STATIC_ROOT", BASE_DIR / "staticfiles")
# True if TLS ends at this site or at a proxy before it: cookies are secure, HSTS is sent.
HTTPS = env.bool("HTTPS", not DEBUG)
ECHO_MAX_MESSAGE_BYTES = env.int(
    "ECHO_MAX_MESSAGE_BYTES", 1024 * 1024, validate=validate.Range(min=1)
)
# A client that takes no bytes for so long while some wait for it is cut. Longer than a
# phone is without network when it changes its cell.
WRITE_TIMEOUT_SECONDS = env.float("WRITE_TIMEOUT_SECONDS", 120.0)
# The most connections to /echo in one process, and from one client address.
ECHO_MAX_CONNECTIONS = env.int("ECHO_MAX_CONNECTIONS", 20_000)
ECHO_MAX_CONNECTIONS_PER_ADDRESS = env.int("ECHO_MAX_CONNECTIONS_PER_ADDRESS", 5_000)
# The longest time for a request's head and then for its body, and the largest body; the
# servers enforce these before any application runs.
HEAD_TIMEOUT_SECONDS = env.float("HEAD_TIMEOUT_SECONDS", 20.0)
BODY_TIMEOUT_SECONDS = env.float("BODY_TIMEOUT_SECONDS", 60.0)
MAX_BODY_BYTES = env.int("MAX_BODY_BYTES", 4 * 1024 * 1024)
# Log `recv: …` for each message as gorilla's server does; on while developing.
ECHO_LOG_MESSAGES = env.bool("ECHO_LOG_MESSAGES", DEBUG)
# Each topic keeps its events for so long, and so many of them.
FEED_RETENTION_SECONDS = env.int("FEED_RETENTION_SECONDS", 24 * 60 * 60)
FEED_RETENTION_EVENTS = env.int("FEED_RETENTION_EVENTS", 10_000)
# Shorter than the 60 s after which proxies cut an idle connection.
FEED_HEARTBEAT_SECONDS = env.float("FEED_HEARTBEAT_SECONDS", 20.0)
FEED_SSE_HEARTBEAT_SECONDS = env.float("FEED_SSE_HEARTBEAT_SECONDS", 15.0)
# A stream ends after this time, multiplied by 0.8 to 1, and the browser resumes it.
FEED_SSE_LIFETIME_SECONDS = env.float("FEED_SSE_LIFETIME_SECONDS", 600.0)
# The same for a WebSocket; its client resumes at once.
FEED_WEBSOCKET_LIFETIME_SECONDS = env.float("FEED_WEBSOCKET_LIFETIME_SECONDS", 3600.0)
# Time between two checks of the rights of open connections.
FEED_JUDGE_SECONDS = env.float("FEED_JUDGE_SECONDS", 30.0)
FEED_MAX_CONNECTIONS = env.int("FEED_MAX_CONNECTIONS", 20_000)
FEED_MAX_CONNECTIONS_PER_ADDRESS = env.int("FEED_MAX_CONNECTIONS_PER_ADDRESS", 5_000)
# Reads of missed events from the log, for each client address; bursts of five seconds' worth.
FEED_HISTORY_READS_PER_SECOND = env.int("FEED_HISTORY_READS_PER_SECOND", 20)
FEED_PUBLISHES_PER_SECOND = env.int("FEED_PUBLISHES_PER_SECOND", 100)
# Visitors of /market/ may start a market, one at a time on the whole site.
MARKET_FOR_VISITORS = env.bool("MARKET_FOR_VISITORS", DEBUG)
# The number of processes that uvicorn starts; for the system checks only.
WORKERS = env.int("WEB_CONCURRENCY", 1)
# `line` for people, `json` for log collectors.
LOG_FORMAT = env.str("LOG_FORMAT", "line", validate=validate.OneOf(["line", "json"]))
LOG_LEVEL = env.log_level("LOG_LEVEL", logging.INFO)

# --- Django ----------------------------------------------------------------------------

ROOT_URLCONF = "wsdemo.urls"
ASGI_APPLICATION = "wsdemo.asgi.application"

INSTALLED_APPS = [
    "echo",  # before daphne: its runserver command is the one that runs
    "daphne",
    "channels",
    "csp",
    "servestatic",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.forms",  # for FORM_RENDERER
]

# All of these are async-capable: one that is not would put all requests through one thread.
# A test checks it.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "echo.middleware.json_errors",  # inside CommonMiddleware, which adds Content-Length
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# Widgets may be overridden in templates/, as all other templates may: see django.forms.
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"

# IMMEDIATE takes the write lock at BEGIN, so that no transaction fails later with "database
# is locked"; WAL allows reads during a write; FULL makes a COMMIT survive a power cut.
SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
}
# The threads of a process share a few connections. A client gets a response within 5 s, so
# waiting for a lock or for the server fails before that. A node that hangs in a transaction
# must not keep the log's counter locked for ever.
POSTGRES_OPTIONS = {
    "pool": {
        "min_size": 0,
        "max_size": DATABASE_CONNECTIONS,
        "timeout": 4,
        # Give up early: the next call tries again, while the pool's own attempts come less
        # and less often and would find a restarted server late.
        "reconnect_timeout": 1,
    },
    "connect_timeout": 3,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "options": "-c lock_timeout=4s -c statement_timeout=30s "
    "-c idle_in_transaction_session_timeout=30s",
}
if DATABASE["ENGINE"] == "django.db.backends.sqlite3":
    DATABASE["OPTIONS"] = SQLITE_OPTIONS
    Path(DATABASE["NAME"]).parent.mkdir(parents=True, exist_ok=True)
else:
    DATABASE["OPTIONS"] = POSTGRES_OPTIONS | DATABASE.get("OPTIONS", {})
    DATABASE["CONN_HEALTH_CHECKS"] = True
DATABASES = {"default": DATABASE}

if REDIS_URL:
    CHANNEL_LAYERS: dict[str, Any] = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [REDIS_URL]},
        }
    }
else:
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = "UTC"
USE_TZ = True

# --- static files ----------------------------------------------------------------------

STATIC_URL = "static/"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "wsdemo.static.StaticStorage"},
}
# Serve files from the apps as well as from STATIC_ROOT, so that the site works before the
# first collectstatic, with DEBUG off too.
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_USE_STATIC_ROOT = STATIC_ROOT.is_dir()

# --- security --------------------------------------------------------------------------

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "connect-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
# The proxy that ends TLS redirects plain HTTP. A redirect here would also answer its health
# checks and handshakes with 301, so the check is silenced.
SECURE_SSL_REDIRECT = False
SILENCED_SYSTEM_CHECKS = ["security.W008"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS

# --- the servers -----------------------------------------------------------------------

DAPHNE_WEBSOCKET_MAX_MESSAGE_SIZE = ECHO_MAX_MESSAGE_BYTES
DAPHNE_WEBSOCKET_MAX_FRAME_SIZE = ECHO_MAX_MESSAGE_BYTES

# Everything goes to standard error, with DEBUG off too: Django's default then mails
# tracebacks to ADMINS and prints nothing.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"},
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
        },
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}
    },
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "echo": {"level": LOG_LEVEL},
        # Logs a traceback a second while Redis is down; cluster/channel.py warns once.
        "channels_redis": {"level": "CRITICAL"},
        "echo.messages": {"level": "INFO" if ECHO_LOG_MESSAGES else "WARNING"},
        "django": {"handlers": [], "level": LOG_LEVEL},
        # Logs "Not Found: /x" beside the server's own line.
        "django.request": {"level": "ERROR"},
        # Logs a traceback for every scanner that invents a Host; it gets a 400.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
    },
}
