"""The answer to a poll: the frames that were due, as one JSON object."""

from collections.abc import Sequence

from django.http import HttpResponse

from echo.feed.event import Frame, Notice
from echo.feed.subscription import Subscription


def polled(frames: Sequence[Frame], subscription: Subscription) -> HttpResponse:
    """``{"events", "last_event_id", "reset", "more"}``; events are encoded already.

    ``bye`` comes with them when the server has ended the subscription, and only then.
    """
    events = ",".join([frame.polled for frame in frames if frame.type == "event"])
    reset = next((frame for frame in frames if frame.type == "reset"), None)
    # Not looked for among the frames: it may have been said while they were read.
    bye = f',"bye":{subscription.bye.json}' if subscription.bye else ""
    body = (
        f'{{"events":[{events}],"last_event_id":"{subscription.cursor}",'
        f'"reset":{reset.json if isinstance(reset, Notice) else "null"},'
        f'"more":{"false" if subscription.is_idle else "true"}{bye}}}'
    )
    return HttpResponse(body, content_type="application/json; charset=utf-8")
