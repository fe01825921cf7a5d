"""Images of a data set that is larger than memory: single frames, read when they are asked for."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from jepawm_agents.training.joined_store import Store


class FramesOnDisk:
    """Images by episode and time, where a tensor in memory would be too large.

    A native store decodes nothing but the frames asked for; an HDF5 file decodes chunks of eight.

    Args:
        store: it must stay open.
    """

    def __init__(self, store: Store):
        self.store = store
        self.shape = (len(store), int(store.lengths.max()) + 1, *store.frame_shape)
        """That of the tensor, (episodes, T + 1, H, W, C)."""

    def __getitem__(self, place: tuple[Tensor, Tensor]) -> Tensor:
        """Images (..., H, W, C) of episodes (...) at times (...); the two broadcast.

        Raises:
            DataError: for a frame that its episode has not, or that is damaged.
        """
        episode, time = torch.broadcast_tensors(*place)
        places = zip(episode.flatten().tolist(), time.flatten().tolist(), strict=True)
        images = np.stack([self.store.frames(number, at, at + 1)[0] for number, at in places])
        return torch.from_numpy(images).unflatten(0, episode.shape)
