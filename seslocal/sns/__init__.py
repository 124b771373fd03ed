"""SNS: topics, their subscriptions, and signed notifications that are delivered, tried again and given up."""
