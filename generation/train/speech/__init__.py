"""Training of the small voice: a Moshi whose text leads its speech. Started by `loop.run_speech`."""
