"""The published checkpoints: found or fetched, hashed, checked against their card, loaded without running code."""
