"""Heads that read latents: pictures and states from tokens. They play no part in planning."""

from jepawm_agents.heads.by_agent import load_decoder as load_decoder
from jepawm_agents.heads.by_agent import load_state_decoder as load_state_decoder
from jepawm_agents.heads.compact_image_decoder import CompactImageDecoder as CompactImageDecoder
from jepawm_agents.heads.compact_state_decoder import CompactStateDecoder as CompactStateDecoder
from jepawm_agents.heads.files import build_head as build_head
from jepawm_agents.heads.files import read_head as read_head
from jepawm_agents.heads.files import save_head as save_head
from jepawm_agents.heads.image_decoder import ImageDecoder as ImageDecoder
from jepawm_agents.heads.state_decoder import StateDecoder as StateDecoder
