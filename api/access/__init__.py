"""Who asks, what they may do, and how often: keys and callers, rate limits, the budget for
near-duplicates."""
