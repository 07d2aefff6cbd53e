"""Judges readers again while their connections are open, and ends those that lose rights.

At once when an account has changed (see changes.py), and every FEED_JUDGE_SECONDS anyway:
a change made with ``QuerySet.update`` or by hand in the database announces nothing. Visitors
have no rights to lose. A reader who gains rights has them on the next connection.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import islice

from django.conf import settings

from echo.feed.access import Reader
from echo.feed.accounts import accounts_of, identify
from echo.feed.connection import STAY_AWAY_SECONDS, return_seconds
from echo.feed.hub import Hub
from echo.feed.subscription import Subscription
from echo.feed.threads import accounts
from echo.protocol import CloseCode

# Connections whose sessions and users are read with one query each.
BATCH_READERS = 250
# Longer than a handshake takes: its reader may have been found before an account changed.
REMEMBERED_SECONDS = 30.0
REMEMBERED_CHANGES = 10_000
# While the database is away, readers keep what they had for so many rounds.
MAX_MISSED_ROUNDS = 4


class Rights:
    """The signed-in readers of one process, and those of them who are to be judged."""

    def __init__(self, hub: Hub, clock: Callable[[], float]) -> None:
        # Has the subscriptions, and narrows them.
        self.hub = hub
        # In seconds, monotonic.
        self.clock = clock
        # Each signed-in subscription, by its id, under its user and under its session.
        self.held_by: dict[str, dict[str, Subscription]] = {}
        # Who is judged next. A restricted one of these that is here for a change is held.
        self.suspects: dict[str, Subscription] = {}
        # When accounts changed, the latest last.
        self.changed: OrderedDict[str, float] = OrderedDict()
        # Set when there are suspects.
        self.alarm = asyncio.Event()
        # When every reader is to be judged, whatever has changed.
        self.next_round_at = clock() + settings.FEED_JUDGE_SECONDS
        # When nobody was left to be judged.
        self.judged_at = clock()

    # --- who is connected --------------------------------------------------------------

    def join(self, subscription: Subscription) -> None:
        """Add a signed-in reader; judge one whose account has changed meanwhile."""
        self.add(subscription)
        horizon = time.monotonic() - REMEMBERED_SECONDS
        for account in accounts_of(subscription.interest.reader):
            if self.changed.get(account, 0.0) > horizon:
                self.suspect(subscription)

    def add(self, subscription: Subscription) -> None:
        """Find a signed-in reader by its accounts from now on."""
        for account in accounts_of(subscription.interest.reader):
            held = self.held_by.setdefault(account, {})
            held[subscription.connection.id] = subscription

    def leave(self, subscription: Subscription) -> None:
        """Remove a reader; no-op if unknown."""
        identity = subscription.connection.id
        self.suspects.pop(identity, None)
        for account in accounts_of(subscription.interest.reader):
            held = self.held_by.get(account, {})
            held.pop(identity, None)
            if not held:
                self.held_by.pop(account, None)

    # --- what has changed --------------------------------------------------------------

    def receive_changes(self, changed: Iterable[str], over: Iterable[str]) -> None:
        """Judge the readers of accounts that changed; those of sessions that are over, now."""
        for account in changed:
            for subscription in self.found(account):
                self.suspect(subscription)
        for account in over:
            for subscription in self.found(account):
                self.apply(subscription, Reader())

    def found(self, account: str) -> list[Subscription]:
        """Return the subscriptions of an account, and remember that it has changed."""
        self.changed[account] = time.monotonic()
        self.changed.move_to_end(account)
        if len(self.changed) > REMEMBERED_CHANGES:
            self.changed.popitem(last=False)
        return list(self.held_by.get(account, {}).values())

    def suspect(self, subscription: Subscription) -> None:
        """Have a reader judged soon; hand out nothing meanwhile that may be forbidden."""
        if subscription.interest.is_restricted:
            subscription.hold()
        self.suspects[subscription.connection.id] = subscription
        self.alarm.set()

    # --- judging -----------------------------------------------------------------------

    async def keep_judging(self) -> None:
        """Judge suspects when there are any, and every reader once a round."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self.next_round_at):
                    await self.alarm.wait()
            now = self.clock()
            if now >= self.next_round_at:
                self.next_round_at = now + settings.FEED_JUDGE_SECONDS
                for held in self.held_by.values():
                    self.suspects.update(held)
            await self.judge_suspects()
            self.alarm.clear()
            self.judged_at = now

    async def judge_suspects(self) -> None:
        """Judge until nobody is suspected; a failure leaves the others to the next time."""
        while self.suspects:
            batch = dict(islice(self.suspects.items(), BATCH_READERS))
            for identity in batch:
                del self.suspects[identity]
            try:
                await self.judge(batch)
            except BaseException:
                self.suspects = batch | self.suspects
                self.alarm.set()
                self.dismiss_unjudged()
                raise

    async def judge(self, batch: dict[str, Subscription]) -> None:
        """Judge some readers by what the database says now."""
        keys = {
            identity: subscription.interest.reader.session_key or ""
            for identity, subscription in batch.items()
        }
        found = await accounts.run(identify, set(keys.values()))
        for identity, key in keys.items():
            # One who left needs no judgement; one suspected anew needs a newer one.
            if (
                self.hub.subscriptions.get(identity) is batch[identity]
                and identity not in self.suspects
            ):
                self.apply(batch[identity], found[key])

    def apply(self, subscription: Subscription, found: Reader) -> None:
        """Leave a reader what it may still read; end it when that is not all it asked for."""
        before = subscription.interest
        reader = before.reader.reduced_to(found)
        if reader != before.reader:
            allowed = before.allowed_to(reader)
            self.leave(subscription)
            self.hub.narrow(subscription, allowed)
            self.add(subscription)
            if allowed.patterns != before.patterns:
                subscription.end(
                    CloseCode.NOT_ALLOWED,
                    "no longer allowed to read these topics",
                    STAY_AWAY_SECONDS,
                )
        subscription.release()

    def dismiss_unjudged(self) -> None:
        """End those who could not be judged for long; they are judged when they return."""
        patience = MAX_MISSED_ROUNDS * settings.FEED_JUDGE_SECONDS
        if self.clock() - self.judged_at < patience:
            return
        count = len(self.suspects)
        for subscription in self.suspects.values():
            if subscription.interest.is_restricted:
                subscription.end(
                    CloseCode.ASKED_TO_RECONNECT,
                    "the database cannot tell who may read",
                    return_seconds(count),
                )
