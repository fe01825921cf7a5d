"""Reading published data sets in the layouts they are published in."""

from jepawm_envs.data.readers.base import LeftOut as LeftOut
from jepawm_envs.data.readers.base import Reader as Reader
from jepawm_envs.data.readers.base import read_all as read_all
from jepawm_envs.data.readers.table import LAYOUTS as LAYOUTS
from jepawm_envs.data.readers.table import open_reader as open_reader
