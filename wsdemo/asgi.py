"""The ASGI application: Channels routes WebSockets and the feed, Django all else.

``manage.py runserver`` (Daphne) and ``uvicorn wsdemo.asgi:application`` both start here.
"""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wsdemo.settings")
django_application = get_asgi_application()  # before anything that imports models

from echo.handshake import SameOrigin  # noqa: E402
from echo.routing import (  # noqa: E402
    below_root_path,
    http_urlpatterns,
    websocket_urlpatterns,
)
from echo.servers import make_uvicorn_faithful  # noqa: E402

make_uvicorn_faithful()

application = below_root_path(
    ProtocolTypeRouter(
        {
            "http": URLRouter([*http_urlpatterns, re_path("", django_application)]),
            "websocket": SameOrigin(URLRouter(websocket_urlpatterns)),
        }
    )
)
