"""Names static files by their content, and rewrites the imports of ES modules to match."""

from django.contrib.staticfiles.storage import ManifestStaticFilesStorage


class StaticStorage(ManifestStaticFilesStorage):
    """Hashed names once ``collectstatic`` has run, plain names before it has.

    Django raises for a file that is not in the manifest. Here the plain name is given
    instead, which the static middleware serves from the apps: a site started before its
    first ``collectstatic`` is whole, only not cached for ever.
    """

    support_js_module_import_aggregation = True

    def stored_name(self, name: str) -> str:
        try:
            return super().stored_name(name)
        except ValueError:
            return name
