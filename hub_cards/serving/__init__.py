"""Serve a model: an engine that answers many requests as one batch, and an OpenAI-compatible endpoint on it.

A page in the same process uses three things: [`engine.Engine.ask`], whose events (`events`) are text, blocks of
imagery in their place, and the end; `settings`; and the argument `page` of [`app.create_app`], which mounts it at `/`.
Heat maps of a block draw themselves ([`heat_maps.LatentMap.draw`]). Closing the iterator of events cancels the answer.
"""
