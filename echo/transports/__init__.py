"""The four ways to read the feed. They carry, they never decide, and know not each other."""
