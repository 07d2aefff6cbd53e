"""The site's settings with a URL more, by which a test ends connections."""

from wsdemo.settings import *  # noqa: F403

ROOT_URLCONF = "echo.tests.operator"
