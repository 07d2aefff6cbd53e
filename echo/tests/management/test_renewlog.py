"""``manage.py renewlog``: readers of a restored log get a reset."""

import pytest
from django.core.management import call_command

from echo.feed import publish, replay
from echo.feed.access import Interest


@pytest.mark.django_db(transaction=True)
def test_readers_of_the_old_epoch_get_a_reset(
    capsys: pytest.CaptureFixture[str],
) -> None:
    old = publish("news", 1)
    call_command("renewlog")
    cursor, notice = replay.start(Interest(("news",)), str(old))
    assert notice is not None
    assert notice.fields["reason"] == "epoch"
    assert cursor.number == 1
    assert str(cursor) in capsys.readouterr().out


@pytest.mark.django_db(transaction=True)
def test_the_numbers_go_on_in_the_new_life() -> None:
    old = publish("news", 1)
    call_command("renewlog")
    new = publish("news", 2)
    assert new.id.endswith("-2")
    assert new.id.partition("-")[0] != old.id.partition("-")[0]
