"""What heads are trained on: pictures and states from the latents of a frozen encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from jepawm_agents.heads.base import ImageHead
from jepawm_agents.heads.perceptual import PerceptualDistance
from jepawm_agents.training.data import step_generator
from jepawm_agents.training.distributed import WHOLE, Share
from jepawm_agents.training.frames import FrameBatch, Frames


class ImageTraining:
    """An image decoder, its data and its loss.

    Published decoders minimise 10 times the squared error plus LPIPS, on images from 0 to 1 (jepa-wms
    ``wm_heads.py:74-99``); without LPIPS, the absolute error.

    Args:
        head: to be trained.
        frames: data.
        settings: table ``train`` of a recipe; ``loss`` holds the weights of ``l2``, ``l1`` and ``lpips``,
            ``standardise_colours`` says whether ``l2`` and ``l1`` are of :func:`standardised_colours`.
        perceptual: needed where LPIPS has a weight.
    """

    def __init__(
        self, head: ImageHead, frames: Frames, settings: Mapping[str, Any], perceptual: PerceptualDistance | None = None
    ):
        self.head, self.frames, self.settings, self.perceptual = head, frames, settings, perceptual
        some = frames.some_images()
        self.mean_image = some.mean(dim=0)
        self.colours = standardised_colours(some) if settings["standardise_colours"] else None

    def loss_of_step(self, step: int, share: Share = WHOLE) -> Tensor:
        """The weighted errors on a share of the frames of step k."""
        batch = _draw(self.frames, self.settings, step, share)
        images = self.head.pictures(batch.latents)
        error, weights = images.float() - batch.images, self.settings["loss"]
        if self.colours is not None:
            # Not a matrix product: mixed precision would round the errors.
            error = (self.colours[:, :, None, None] * error[:, None]).sum(dim=2)
        loss = weights["l2"] * error.square().mean() + weights["l1"] * error.abs().mean()
        if self.perceptual is not None:
            loss = loss + weights["lpips"] * self.perceptual.between(images, batch.images).mean()
        return loss

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """On held-out frames: squared error, and PSNR in decibels, image by image and then averaged.

        ``val_mean_psnr`` is that of showing the mean training image, which a decoder must beat.
        """
        self.head.eval()
        errors, of_mean = [], []
        for batch in self.frames.some(self.frames.validation):
            shown = self.head.pictures(batch.latents).clamp(0.0, 1.0)
            errors.append(_image_errors(shown, batch.images))
            of_mean.append(_image_errors(self.mean_image, batch.images))
        self.head.train()
        return {
            "val_l2": float(torch.cat(errors).mean()),
            "val_psnr": psnr(torch.cat(errors)),
            "val_mean_psnr": psnr(torch.cat(of_mean)),
        }


class StateTraining:
    """A state decoder, its data and its loss.

    The published one minimises the absolute error of raw states (jepa-wms ``wm_heads.py:146-178``).

    Args:
        head: tokens (B, P, D) to states (B, S) in environment units.
        frames: data.
        settings: table ``train`` of a recipe; ``loss`` holds the weights of ``l2`` and ``l1``, ``standardise`` says
            whether errors are measured in deviations of the training states.
    """

    def __init__(self, head: Any, frames: Frames, settings: Mapping[str, Any]):
        self.head, self.frames, self.settings = head, frames, settings
        std = frames.states[frames.train].std(dim=0)
        self.std = torch.where(std > 0, std, 1.0)

    def loss_of_step(self, step: int, share: Share = WHOLE) -> Tensor:
        """The weighted errors on a share of the frames of step k."""
        batch = _draw(self.frames, self.settings, step, share)
        error = self.head(batch.latents) - batch.states
        if self.settings["standardise"]:
            error = error / self.std.to(error.device)
        weights = self.settings["loss"]
        return weights["l2"] * error.square().mean() + weights["l1"] * error.abs().mean()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """On held-out frames: the root of the mean squared error of every entry, in environment units.

        ``val_rmse`` is that of all entries in deviations of the training states, so that knowing nothing gives
        about 1. Angles are taken as the numbers that they are; one that wraps around counts as a large error.
        """
        self.head.eval()
        errors = torch.cat(
            [(self.head(batch.latents) - batch.states).cpu() for batch in self.frames.some(self.frames.validation)]
        )
        self.head.train()
        each = errors.square().mean(dim=0).sqrt()
        figures = {"val_rmse": float((errors / self.std).square().mean().sqrt())}
        return figures | {f"val_rmse_{entry}": float(value) for entry, value in enumerate(each)}


def standardised_colours(images: Tensor) -> Tensor:
    """The symmetric matrix (3, 3) that measures errors of these images (N, 3, H, W) in deviations of each colour.

    A small thing of its own colour hardly counts beside large ones: Two Rooms' dot is 2 % of its pictures' variance,
    and a decoder that never shows it has nearly the least squared error. Measured along the principal colours of what
    differs from the mean image, it counts nearly as much as the walls. Deviations below a tenth of the largest are
    taken as that: no colour weighs more than ten times as much as another. The matrix has the norm of the identity,
    so that the largest colour weighs less than without it.
    """
    differences = (images - images.mean(dim=0)).transpose(0, 1).flatten(1)
    variances, colours = torch.linalg.eigh(differences @ differences.T / differences.shape[1])
    least = (0.01 * variances.max()).clamp_min(1e-12)  # all images alike: nothing to learn, and nothing to divide by
    matrix = (colours / variances.maximum(least).sqrt()) @ colours.T
    return matrix * (len(matrix) ** 0.5 / matrix.norm())


def psnr(errors: Tensor) -> float:
    """Mean peak signal-to-noise ratio in decibels of images with these mean squared errors (B,), whites at 1."""
    return float(-10.0 * errors.clamp_min(1e-10).log10().mean())


def _draw(frames: Frames, settings: Mapping[str, Any], step: int, share: Share) -> FrameBatch:
    numbers = step_generator(settings["seed"], "head", step).choice(frames.train, size=settings["batch_size"])
    return frames.read(numbers[share.of(len(numbers))])


def _image_errors(shown: Tensor, images: Tensor) -> Tensor:
    """Mean squared error of every image, (B,)."""
    return (shown - images).square().mean(dim=(1, 2, 3))
