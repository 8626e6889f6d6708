"""Speech to speech over a websocket, by the protocol of the published Moshi clients.

client ──Ogg Opus──► session ──frames──► stage (one thread, one model, one batch row for each session)
client ◄──Ogg Opus── session ◄──speech, text──┘       everything said is marked and registered first
"""
