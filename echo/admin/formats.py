"""Formats numbers and times as the admin's pages show them."""

from datetime import datetime

from django.utils.formats import number_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _


def format_number(value: int) -> str:
    """Return a number with separated thousands, in the current language."""
    return number_format(value, force_grouping=True)


def format_time(moment: datetime) -> str:
    """Return local time to the millisecond: many events share a minute."""
    local = localtime(moment).replace(tzinfo=None)
    return local.isoformat(sep=" ", timespec="milliseconds")


def format_age(seconds: float) -> str:
    """Return a length of time in its largest unit, and the next one for hours and days."""
    minutes, seconds = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return _("%(days)d d %(hours)d h") % {"days": days, "hours": hours}
    if hours:
        return _("%(hours)d h %(minutes)d min") % {"hours": hours, "minutes": minutes}
    if minutes:
        return _("%(minutes)d min") % {"minutes": minutes}
    return _("%(seconds)d s") % {"seconds": seconds}
