"""Trains a diffusion model from unlabelled images, to denoise what a classifier sees."""

from smoothscan.training.register import register
from smoothscan.training.result import Trained
from smoothscan.training.train import train

__all__ = ["Trained", "register", "train"]
