"""``python -m echo.servers``: Daphne's command line with the faithful server."""

import os

from echo.servers import DaphneCommand

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wsdemo.settings")
DaphneCommand.entrypoint()
