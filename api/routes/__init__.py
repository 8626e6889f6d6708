"""The REST routes: each translates, calls the service in a worker thread, and translates back."""
