"""The site's settings with a channel layer that kills the process before a doorbell rings."""

from wsdemo.settings import *  # noqa: F403
from wsdemo.settings import CHANNEL_LAYERS

CHANNEL_LAYERS["default"]["BACKEND"] = "echo.tests.survival.layers.DeadlyLayer"
