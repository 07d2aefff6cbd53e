"""The transports of the feed: reading and publishing; independent of one another."""
