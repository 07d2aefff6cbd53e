"""``manage.py renewlog``: after a backup was restored, tells every reader so."""

from typing import Any

from django.core.management.base import BaseCommand

from echo.feed import renew_log


class Command(BaseCommand):
    help = (
        "Give the feed's log a new epoch. Run it when a backup has been restored while no "
        "server was running: readers that were ahead of the backup are then told `reset`, "
        "where the backup's next events would otherwise bear ids that they know."
    )

    def handle(self, **options: Any) -> None:
        self.stdout.write(f"the log begins a new life at {renew_log()}")
