"""Judging again: at once or in rounds, in batches, and never delivering in between."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import DatabaseError, transaction
from django.test import Client
from pytest_django import Settings

from echo.feed import Reader, Subscription, access, doorbell, find_reader, rights
from echo.feed.accounts import accounts_of, session_account, user_account
from echo.feed.node import Node, keep_running
from echo.feed.subscription import MAX_HELD_SECONDS, State
from echo.protocol import CloseCode
from echo.tests.feed.reading import (
    numbers,
    read_numbers,
    subscribe,
    told,
    until,
    write,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def judging(node: Node, settings: Settings) -> AsyncIterator[Node]:
    """The node; rights are judged only when a change is announced."""
    settings.FEED_JUDGE_SECONDS = 3600.0
    node.rights.next_round_at = node.loop.time() + settings.FEED_JUDGE_SECONDS
    doorbell.add_listener(node.loop, node)
    job = asyncio.create_task(keep_running(node.rights.keep_judging))
    yield node
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)
    doorbell.remove_listener(node.loop)


async def sign_in(name: str = "ann", **fields: Any) -> Reader:
    """Return a member of staff as the reader that their session is."""
    user, _ = await User.objects.aget_or_create(
        username=name, defaults={"is_staff": True, **fields}
    )
    client = Client()
    await client.aforce_login(user)
    cookie = f"sessionid={client.cookies['sessionid'].value}"
    return await find_reader([(b"cookie", cookie.encode())])


async def demote(**found: Any) -> None:
    """Take the rights of staff away, as the admin does."""
    async for user in User.objects.filter(**found):
        user.is_staff = False
        await user.asave()


async def end_of(subscription: Subscription) -> int:
    await until(lambda: subscription.bye)
    assert subscription.bye is not None
    return int(subscription.bye.fields["code"])


async def test_events_that_wait_for_a_reader_who_lost_the_right_are_dropped(
    judging: Node,
) -> None:
    reader = await subscribe(judging, "*", reader=await sign_in())
    for event in await write("staff.x", "news", "staff.x"):
        judging.relay.receive_events([event])
    await demote()
    judging.relay.receive_events(await write("staff.x", "news"))
    await until(lambda: not reader.is_held)
    assert await read_numbers(reader) == [2, 5]
    assert reader.cursor.number == 5
    assert not reader.interest.reader.is_staff


async def test_nothing_is_handed_out_from_the_change_until_the_judgement(
    judging: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = await subscribe(judging, "*", reader=await sign_in())
    public = await subscribe(judging, "news", reader=await sign_in())
    may_judge = asyncio.Event()
    judge = judging.rights.judge

    async def judge_later(batch: Any) -> None:
        await may_judge.wait()
        await judge(batch)

    monkeypatch.setattr(judging.rights, "judge", judge_later)
    await demote()
    await until(lambda: reader.is_held)
    judging.relay.receive_events(await write("staff.x", "news"))
    waiting = asyncio.create_task(reader.next())
    assert await read_numbers(public) == [2]
    assert not waiting.done()
    may_judge.set()
    assert numbers(await waiting) == [2]


async def test_a_change_while_the_judge_reads_is_judged_again(
    judging: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = await subscribe(judging, "staff.x", reader=await sign_in())
    account = user_account(reader.interest.reader.user_id)
    run = rights.accounts.run

    async def overtaken(function: Any, keys: Any) -> Any:
        found = await run(function, keys)
        if not overtook:
            overtook.append(True)
            await demote()
            await until(lambda: reader.connection.id in judging.rights.suspects)
        return found

    overtook: list[bool] = []
    monkeypatch.setattr(rights.accounts, "run", overtaken)
    judging.rights.receive_changes([account], [])
    assert await end_of(reader) == CloseCode.NOT_ALLOWED


async def test_a_page_of_the_log_that_was_read_meanwhile_is_read_again(
    judging: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write("staff.x", "news", "staff.x", "news")
    await judging.relay.catch_up()
    judging.history.recent.clear()
    reader = await subscribe(judging, "*", since="earliest", reader=await sign_in())
    page = judging.history.page

    async def page_while_the_session_ends(*arguments: Any) -> Any:
        found = await page(*arguments)
        await Session.objects.all().adelete()
        await until(lambda: reader.interest.reader == Reader())
        return found

    monkeypatch.setattr(judging.history, "page", page_while_the_session_ends)
    assert await read_numbers(reader) == [2, 4]
    assert reader.state is State.LIVE


async def test_a_frame_that_was_handed_out_before_is_judged_before_it_is_sent(
    judging: Node,
) -> None:
    reader = await subscribe(judging, "*", reader=await sign_in())
    judging.relay.receive_events(await write("staff.x", "news"))
    secret, public = await reader.next()
    assert not reader.rights_changed
    await demote()
    await until(lambda: reader.rights_changed)
    assert not await reader.may_send(secret)
    assert await reader.may_send(public)


async def test_a_session_that_ends_while_its_reader_connects_is_judged(
    judging: Node,
) -> None:
    found = await sign_in()
    await Session.objects.all().adelete()
    await until(lambda: judging.rights.changed)
    late = await subscribe(judging, "staff.x", reader=found)
    assert late.is_held
    assert await end_of(late) == CloseCode.NOT_ALLOWED


async def test_rights_that_are_gained_need_another_connection(judging: Node) -> None:
    found = await sign_in(is_staff=False)
    reader = await subscribe(judging, "*", reader=found)
    async for user in User.objects.all():
        user.is_staff = True
        await user.asave()
    judging.rights.receive_changes([user_account(found.user_id)], [])
    assert reader.is_held
    await until(lambda: not reader.is_held)
    judging.relay.receive_events(await write("staff.x", "news"))
    assert await read_numbers(reader) == [2]


async def test_a_round_reads_many_readers_with_two_queries(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = [
        await subscribe(node, "staff.x", reader=await sign_in(f"ann{number}"))
        for number in range(5)
        for _ in range(2)
    ]
    await subscribe(node, "news")
    asked: list[Any] = []
    run = rights.accounts.run

    async def counted(function: Any, keys: Any) -> Any:
        asked.append(len(keys))
        return await run(function, keys)

    monkeypatch.setattr(rights.accounts, "run", counted)
    await User.objects.filter(username="ann3").aupdate(is_staff=False)
    await one_round(node)
    assert asked == [10]  # sessions; test_accounts counts the queries
    assert [reader.bye is not None for reader in readers] == [
        number // 2 == 3 for number in range(10)
    ]


async def one_round(node: Node) -> None:
    """Judge all readers once."""
    node.rights.judged_at = 0.0
    node.rights.next_round_at = node.loop.time()
    job = asyncio.create_task(node.rights.keep_judging())
    await until(lambda: node.rights.judged_at or job.done())
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)


async def test_readers_stay_while_the_database_is_away_but_not_for_ever(
    node: Node, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FEED_JUDGE_SECONDS = 0.2
    reader = await subscribe(node, "staff.x", reader=await sign_in())
    public = await subscribe(node, "news", reader=await sign_in())

    async def fail(*_: Any) -> None:
        raise DatabaseError("away")

    monkeypatch.setattr(rights.accounts, "run", fail)
    node.rights.next_round_at = node.rights.judged_at = node.loop.time()
    with pytest.raises(DatabaseError):
        await node.rights.keep_judging()
    assert reader.bye is None
    assert set(node.rights.suspects) == {
        reader.connection.id,
        public.connection.id,
    }
    node.rights.judged_at -= rights.MAX_MISSED_ROUNDS * settings.FEED_JUDGE_SECONDS
    with pytest.raises(DatabaseError):
        await node.rights.keep_judging()
    assert await end_of(reader) == CloseCode.ASKED_TO_RECONNECT
    assert public.bye is None


async def test_a_reader_that_cannot_be_judged_after_a_change_is_asked_to_reconnect(
    node: Node,
) -> None:
    reader = await subscribe(node, "staff.x", reader=await sign_in())
    node.relay.receive_events(await write("staff.x"))
    node.rights.suspect(reader)
    reader.beat(time.monotonic())
    assert reader.bye is None
    reader.beat(time.monotonic() + MAX_HELD_SECONDS)
    frames = await read_until_bye(reader)
    assert [told(frame)["code"] for frame in frames] == [4011]
    assert reader.cursor.number == 0


async def read_until_bye(reader: Subscription) -> list[Any]:
    return [frame for frame in await reader.next() if frame.type != "heartbeat"]


async def test_readers_who_leave_are_forgotten(judging: Node) -> None:
    found = await sign_in()
    some = [await subscribe(judging, "staff.x", reader=found) for _ in range(3)]
    judging.rights.suspect(some[0])
    assert set(judging.rights.held_by) == set(accounts_of(found))
    for reader in some:
        reader.close()
    assert judging.rights.held_by == {}
    assert judging.rights.suspects == {}


async def test_a_downgraded_reader_counts_as_what_it_is_now(judging: Node) -> None:
    reader = await subscribe(judging, "*", "staff.stats", reader=await sign_in())
    assert judging.cluster.stats.watchers == 1
    await demote()
    assert await end_of(reader) == CloseCode.NOT_ALLOWED
    assert judging.cluster.stats.watchers == 0
    assert reader.interest.patterns == ("*",)
    reader.close()
    assert not judging.hub.by_pattern


async def test_a_change_that_is_rolled_back_is_not_announced(judging: Node) -> None:
    found = await sign_in()
    reader = await subscribe(judging, "staff.x", reader=found)

    @sync_to_async
    def demote_and_roll_back() -> None:
        with transaction.atomic():
            user = User.objects.get()
            user.is_staff = False
            user.save()
            transaction.set_rollback(True)

    await demote_and_roll_back()
    announced: list[object] = []
    doorbell.call_listeners(announced.append)  # after any announcement
    await until(lambda: announced)
    assert user_account(found.user_id) not in judging.rights.changed
    assert not reader.is_held


def test_a_session_s_key_is_not_told() -> None:
    assert "secret-key" not in session_account("secret-key")


def test_interests_that_depend_on_the_reader_are_known() -> None:
    staff = Reader("1", is_staff=True)
    for pattern in ("*", "staff.x", "staff.*", "user.1", "user.1.*"):
        assert access.Interest(("news", pattern), staff).is_restricted
    for pattern in ("news", "news.*", "x.staff", "users.1"):
        assert not access.Interest((pattern,), staff).is_restricted
