"""The pages: `/` verifies audio, `/talk` speaks with the model, `/log` shows the transparency log.

    strings/en.json ─┐
    templates/*.html ─┼─ site.py, once at start ──► pages and assets, in memory ──► api/routes/pages.py
    static/* ─────────┘

No build step, no framework and nothing from another host (docs/decisions/0025): modules as browsers read
them. All that is said is in one file for each language. The pages use the public REST routes and the
websocket, and can do nothing that another client could not."""
