"""The ways to read the feed, and to publish over HTTP; none knows another or decides."""
