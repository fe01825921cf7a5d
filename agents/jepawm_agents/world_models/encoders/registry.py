"""Encoder families by the name that a world model's description gives."""

from __future__ import annotations

from jepawm_agents.world_models.compact_encoder import CompactEncoder
from jepawm_agents.world_models.encoders.base import Encoder
from jepawm_agents.world_models.encoders.dinov2 import DinoV2Encoder
from jepawm_agents.world_models.encoders.dinov3 import DinoV3Encoder
from jepawm_agents.world_models.encoders.impala import ImpalaEncoder
from jepawm_agents.world_models.encoders.vjepa1 import VJepa1Encoder
from jepawm_agents.world_models.encoders.vjepa2 import VJepa2Encoder

ENCODERS: dict[str, type[Encoder]] = {
    "compact": CompactEncoder,
    "dinov2": DinoV2Encoder,
    "dinov3": DinoV3Encoder,
    "impala": ImpalaEncoder,
    "vjepa1": VJepa1Encoder,
    "vjepa2": VJepa2Encoder,
}
