"""``manage.py renewlog``: gives the log a new epoch after a backup was restored."""

from typing import Any

from django.core.management.base import BaseCommand

from echo.feed import renew_log


class Command(BaseCommand):
    help = (
        "Give the feed's log a new epoch. Run it after a backup has been restored while no "
        "server was running: readers that were ahead of the backup then get `reset`. "
        "Without it, new events would have ids that those readers have seen before."
    )

    def handle(self, **options: Any) -> None:
        self.stdout.write(f"the log has a new epoch: {renew_log()}")
