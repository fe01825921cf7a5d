"""Data sets of episodes on disk: collecting, storing and reading them."""

from jepawm_envs.data.collect import collect as collect
from jepawm_envs.data.store import EpisodeStore as EpisodeStore
from jepawm_envs.data.store import info as info
