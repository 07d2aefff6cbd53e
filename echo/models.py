"""The log's tables: events, the counter that numbers them, topics, and publishing tokens.

Only ``echo.feed`` writes them; the admin reads them. Connections and nodes are models without
a table: the admin registers models, and Django's permissions belong to one.
"""

import enum
import hashlib
import secrets
from datetime import datetime
from typing import Self

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext_lazy as _

from echo.protocol import EPOCH_ALPHABET, EPOCH_LENGTH, MAX_TOPIC_LENGTH


def new_epoch() -> str:
    """Return the name of a new life of the log: eight random base62 characters."""
    return "".join(secrets.choice(EPOCH_ALPHABET) for _ in range(EPOCH_LENGTH))


def hash_secret(secret: str) -> str:
    """Return SHA-256 in hex; a secret of 256 random bits needs no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Log(models.Model):
    """The one row that numbers all events; it stays locked until COMMIT.

    So 11 is never visible before 10, and a rollback frees 10 again. An AutoField or a
    database sequence does neither.
    """

    epoch = models.CharField(_("epoch"), max_length=EPOCH_LENGTH, default=new_epoch)
    last_number = models.BigIntegerField(_("last number"), default=0)
    # No event gets an earlier time than the one before it.
    last_sent_at = models.DateTimeField(null=True)
    # The highest number pruned from deleted topics, which had their own before. One for each
    # Topic.Scope: a reader must not learn about topics that it may not read.
    deleted_public_number = models.BigIntegerField(default=0, db_default=0)
    deleted_staff_number = models.BigIntegerField(default=0, db_default=0)
    deleted_user_number = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        verbose_name = _("log")
        verbose_name_plural = _("log")

    def __str__(self) -> str:
        return f"{self.epoch}-{self.last_number}"


# A topic with a retention of its own. SQLite uses the partial index only for a query with
# exactly this condition.
OWN_RETENTION = models.Q(retention_seconds__isnull=False) | models.Q(
    retention_events__isnull=False
)


class Topic(models.Model):
    """A topic that has had events, with its numbers and its retention.

    It is deleted some time after its last event has been pruned (echo.feed.retention).
    """

    class Scope(enum.Enum):
        """Who may read a topic, by its first word; echo.feed.access has the rules."""

        PUBLIC = "public"
        STAFF = "staff"
        USER = "user"

        @classmethod
        def of(cls, name: str) -> Self:
            """Return the scope of a topic or a pattern other than ``*``."""
            first, *_ = name.split(".", 1)
            return cls(first if first in ("staff", "user") else "public")

    name = models.CharField(_("name"), max_length=MAX_TOPIC_LENGTH, primary_key=True)
    last_number = models.BigIntegerField(_("last number"))
    pruned_number = models.BigIntegerField(
        _("pruned number"),
        default=0,
        help_text=_(
            "The highest number pruned: a reader behind it has missed something."
        ),
    )
    kept = models.PositiveIntegerField(_("events kept"), default=0)
    retention_seconds = models.PositiveIntegerField(
        _("retention in seconds"),
        null=True,
        blank=True,
        help_text=_("Older events go; empty for the site's own setting."),
    )
    retention_events = models.PositiveIntegerField(
        _("retention in events"),
        null=True,
        blank=True,
        help_text=_("Events beyond this many go; empty for the site's own setting."),
    )

    class Meta:
        verbose_name = _("topic")
        verbose_name_plural = _("topics")
        ordering = ["name"]
        indexes = [
            # Finds the topics with events to prune, and the empty ones to delete.
            models.Index(fields=["kept", "pruned_number"], name="topic_kept_pruned"),
            models.Index(fields=["pruned_number"], name="topic_pruned_number"),
            # Finds the few topics with a retention of their own.
            models.Index(
                fields=["name"],
                condition=OWN_RETENTION,
                name="topic_own_retention",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Event(models.Model):
    """One committed event; ``data`` is the JSON text that goes over the wire."""

    class Source(models.TextChoices):
        ADMIN = "admin", _("admin")
        COMMAND = "command", _("command")
        HTTP = "http", _("HTTP")
        CODE = "code", _("code")

    number = models.BigIntegerField(_("number"), primary_key=True)
    topic = models.CharField(_("topic"), max_length=MAX_TOPIC_LENGTH)
    previous = models.BigIntegerField(_("previous"), null=True)
    data = models.TextField(_("data"))
    sent_at = models.DateTimeField(_("sent at"), db_index=True)
    key = models.CharField(_("key"), max_length=200, null=True)  # noqa: DJ001 -- unique or none
    source = models.CharField(_("source"), max_length=10, choices=Source.choices)
    author = models.CharField(_("author"), max_length=150, blank=True)

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["topic", "key"], name="one_event_for_each_key"
            )
        ]
        indexes = [models.Index(fields=["topic", "number"], name="event_topic_number")]

    def __str__(self) -> str:
        return f"{self.topic} {self.number}"


class Token(models.Model):
    """A bearer token that may publish to some topics; only its hash is stored.

    The bearer sends ``<id>.<secret>``, so that one row is read and one hash compared.
    """

    name = models.CharField(_("name"), max_length=100)
    secret_hash = models.CharField(
        _("hash of the secret"), max_length=64, editable=False
    )
    topics = models.CharField(
        _("topics"),
        max_length=1000,
        default="*",
        help_text=_(
            "What it may publish to: topics or patterns such as news.*, with spaces."
        ),
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        verbose_name=_("owner"),
        null=True,
        blank=True,
    )
    is_active = models.BooleanField(_("active"), default=True)
    created_at = models.DateTimeField(
        _("created at"), default=timezone.now, editable=False
    )
    last_used_at = models.DateTimeField(_("last used at"), null=True, editable=False)

    class Meta:
        verbose_name = _("token")
        verbose_name_plural = _("tokens")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def renew_secret(self) -> str:
        """Set and return a new secret; only its hash is stored."""
        secret = secrets.token_urlsafe(32)
        self.secret_hash = hash_secret(secret)
        return secret

    def accepts(self, secret: str) -> bool:
        """Return True if the token is active and this is its secret.

        ``owner_may_publish`` checks the owner.
        """
        return self.is_active and constant_time_compare(
            self.secret_hash, hash_secret(secret)
        )

    def owner_may_publish(self) -> bool:
        """Return True if there is no owner, or the owner has the permission to publish.

        An inactive user has no permissions (django.contrib.auth.backends.ModelBackend).
        """
        return self.owner is None or self.owner.has_perm("echo.add_event")

    def used(self, now: datetime) -> None:
        """Store the time of the last use, at most once a minute."""
        if self.last_used_at is None or (now - self.last_used_at).total_seconds() > 60:
            Token.objects.filter(pk=self.pk).update(last_used_at=now)


class MarketLease(models.Model):
    """The one row that allows one market for all visitors, on whichever node it runs.

    The node renews it; when the node dies, it runs out (echo.lab.market.visitors).
    """

    holder = models.CharField(max_length=32, blank=True)
    held_until = models.DateTimeField()
    ends_at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.holder} until {self.held_until}"


class EmptyManager(models.Manager):
    """The manager of a model without a table: no query reaches the database."""

    def get_queryset(self) -> models.QuerySet:
        """Return no rows; dumpdata and the like read every model."""
        return super().get_queryset().none()


class Connection(models.Model):
    """A reader's open connection to the feed; a survey of the nodes lists it. Never stored."""

    id = models.CharField(_("id"), max_length=20, primary_key=True)

    objects = EmptyManager()

    class Meta:
        managed = False
        verbose_name = _("live connection")
        verbose_name_plural = _("live connections")
        default_permissions = ("view",)
        permissions = [
            ("end_connection", "Can disconnect connections and ask them to reconnect")
        ]

    def __str__(self) -> str:
        return self.id


class Node(models.Model):
    """A running server process; the other nodes receive its pulse. Never stored."""

    name = models.CharField(_("name"), max_length=40, primary_key=True)

    objects = EmptyManager()

    class Meta:
        managed = False
        verbose_name = _("node")
        verbose_name_plural = _("nodes")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return self.name
