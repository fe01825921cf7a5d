"""Data sets of episodes on disk: collecting, converting, storing and reading them."""

from jepawm_envs.data.collect import collect as collect
from jepawm_envs.data.convert import convert as convert
from jepawm_envs.data.episode import DamagedEpisode as DamagedEpisode
from jepawm_envs.data.minari_files import export_minari as export_minari
from jepawm_envs.data.preview import preview as preview
from jepawm_envs.data.readers import LeftOut as LeftOut
from jepawm_envs.data.store import EpisodeStore as EpisodeStore
from jepawm_envs.data.store import info as info
from jepawm_envs.data.windows import WindowIndex as WindowIndex
from jepawm_envs.data.windows import read_windows as read_windows
