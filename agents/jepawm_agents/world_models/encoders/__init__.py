"""Encoders: images to a grid of tokens, one interface for all (:class:`.base.Encoder`)."""
