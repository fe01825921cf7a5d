"""Heads that read latents: pictures and states from tokens. They play no part in planning."""
