"""The feed's metrics for Prometheus; their names are part of the public interface."""

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

connections = Gauge("feed_connections", "Open subscriptions", ["transport"])
events = Counter("feed_events", "Events this node has seen")
deliveries = Counter("feed_deliveries", "Events offered to subscriptions")
resets = Counter("feed_resets", "Announced gaps", ["reason"])
gaps_healed = Counter(
    "feed_gaps_healed", "Pages read from the log because a doorbell was late or lost"
)
slow_readers = Counter("feed_slow_readers", "Queues dropped because a reader was slow")
published = Counter("feed_published", "Events published by this node", ["source"])
publish_seconds = Histogram("feed_publish_seconds", "Time to commit", buckets=SECONDS)
delivery_seconds = Histogram(
    "feed_delivery_seconds", "From the event's sent_at to its fan-out", buckets=SECONDS
)
layer_up = Gauge("feed_channel_layer_up", "1 if the channel layer delivers messages")
