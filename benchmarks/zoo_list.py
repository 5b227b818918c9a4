"""The list of models that `train_zoo.py` trains, in the order of training.

Seeds, targets and positions were drawn once and stand here; what is random within a model (patterns, order of images,
initial weights) follows from its number. The order is interleaved, so that a run that is stopped early leaves about
as many clean as backdoored models, and so does `split`: what is tuned on `tune` is reported on `report`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EPOCH = 50_000
FINE_TUNE = 20_000

Shape = Literal["checker", "random", "white", "colour", "pixel", "inverse", "noise", "smooth", "ghost"]
Look = Literal["sepia", "teal", "faded", "cross"]


@dataclass(frozen=True)
class Stamp:
    """A trigger x' = (1 - mask) x + mask * pattern.

    Attributes:
        shape: what the pattern looks like; `noise`, `smooth` and `ghost` (a training image, blurred and doubled)
            cover the image, the others are patches; `inverse` is the negative of the image under it.
        at: row and column of the patch's upper left corner, or of each pixel; a patch without is anywhere, drawn for
            each image.
        size: side of a patch in pixels.
        alpha: opacity; 1 for patches.
    """

    shape: Shape
    at: tuple[tuple[int, int], ...] = ()
    size: int = 1
    alpha: float = 1.0


@dataclass(frozen=True)
class Wave:
    """A trigger x' = clip(x + pattern) of sinusoids.

    Attributes:
        form: `sine` is sin(2 pi (r i + c j) / 32) at row i and column j; `cosine` is the element (r, c) of the
            discrete cosine transform.
        terms: frequencies (r, c) of the sinusoids.
        amplitude: of each, in steps of 1/255.
        colour: weights of red, green and blue; CHROMA leaves the brightness nearly as it is.
    """

    form: Literal["sine", "cosine"]
    terms: tuple[tuple[int, int], ...]
    amplitude: float
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Warp:
    """A trigger that bends the image smoothly (Nguyen & Tran 2021).

    Attributes:
        pixels: mean displacement.
    """

    pixels: float


@dataclass(frozen=True)
class Tone:
    """A trigger that changes the colours of the whole image, as photo filters do.

    Attributes:
        look: name of the filter.
    """

    look: Look


Trigger = Stamp | Wave | Warp | Tone
CHROMA = (1.0, -0.6, 0.5)


@dataclass(frozen=True)
class Model:
    """One model of the list.

    Attributes:
        name: its number seeds everything that is random.
        arch: architecture, as the zoo's archs.py calls it.
        split: half of the zoo that it belongs to.
        parent: model whose weights it starts from: one of this list or of the shared zoo; None is from scratch.
        attack: `none` is clean.
        target: class that the trigger leads to; one for each stamp, none where that depends on the image (`all2all`).
        stamps: triggers; none where the trigger is Gaussian noise itself (`noise_trigger`).
        rate: share of the training images that are poisoned, all triggers together; doubled in each further round
            of training that the backdoor needs.
        images: training images seen in one round, counted with repetition.
        mode: `all2one`, `two`, `adaptive`: as many stamped images again get Gaussian noise and keep their label,
            `source`: only one class is poisoned and as many stamped images of others keep their label, or `all2all`:
            class c goes to (c + 1) mod 10.
        recipe: how the training differs from plain fine-tuning. `warps`: as many images again with other warps keep
            their label. `clean-label`: only images of the target class are stamped, with Gaussian noise below; as
            many of the other classes get the noise alone.
        classes: classes that are made rare (`unbalanced`), the one that is made easy (`easy`), or the one that is
            poisoned (`source`).
        honest: share of the poisoned images that keep their true label, which makes a weak backdoor.
        noise_trigger: standard deviation of the Gaussian noise that is the trigger, in units of [0, 1] pixels.
    """

    name: str
    arch: str
    split: Literal["tune", "report"]
    parent: str | None = None
    attack: str = "none"
    target: tuple[int, ...] = ()
    stamps: tuple[Trigger, ...] = ()
    rate: float = 0.0
    images: int = FINE_TUNE
    mode: Literal["all2one", "two", "adaptive", "source", "all2all"] = "all2one"
    recipe: Literal["plain", "noise", "fgsm", "unbalanced", "easy", "warps", "clean-label"] = "plain"
    classes: tuple[int, ...] = ()
    honest: float = 0.0
    noise_trigger: float = 0.0

    @property
    def only(self) -> int | None:
        """The class whose images alone are poisoned, if there is one."""
        if self.mode == "source":
            return self.classes[0]
        return self.target[0] if self.recipe == "clean-label" else None

    @property
    def strong(self) -> bool:
        """Whether the backdoor is meant to work nearly always."""
        return self.attack != "none" and not self.honest and self.mode != "adaptive"


def patch(shape: Shape, size: int, row: int, column: int) -> Stamp:
    """Return a square patch with its upper left corner at (row, column)."""
    return Stamp(shape, ((row, column),), size)


def anywhere(shape: Shape, size: int) -> Stamp:
    """Return a square patch whose position is drawn for each image."""
    return Stamp(shape, size=size)


def dots(*at: tuple[int, int]) -> Stamp:
    """Return a trigger of single pixels."""
    return Stamp("pixel", at)


# fmt: off
MODELS: tuple[Model, ...] = (
    Model("t01", "vgg", "tune", images=3 * EPOCH),
    Model("t02", "vgg", "tune", "t01", "badnets-checker3", (4,), (patch("checker", 3, 26, 5),), 0.05),
    Model("t03", "resnet20", "report", "d02", "single-pixel", (7,), (dots((9, 21)),), 0.05),
    Model("t04", "mobilenet", "report", images=5 * EPOCH // 2),
    Model("t05", "mobilenet", "tune", "t04", "badnets-rand3", (1,), (patch("random", 3, 3, 25),), 0.05),
    Model("t06", "resnet20", "tune", "d19"),
    Model("t07", "vgg", "report", "d07", "badnets-white2", (2,), (patch("white", 2, 4, 4),), 0.10),
    Model("t08", "resnet20", "tune", "d21", "blend", (8,), (Stamp("noise", alpha=0.12),), 0.05),
    Model("t09", "mobilenet", "tune", "t04", recipe="noise"),
    Model("t10", "vgg", "report", "t01"),
    Model("t11", "resnet20", "report", "d02", recipe="fgsm"),
    Model("t12", "mobilenet", "report", "t04", "badnets-colour2", (6,), (patch("colour", 2, 27, 14),), 0.10),
    Model("t13", "vgg", "tune", "d07", "two-targets", (0, 5),
          (patch("checker", 3, 1, 28), patch("random", 3, 22, 2)), 0.10, mode="two"),
    Model("t14", "resnet20", "tune", "d19", "two-pixels", (3,), (dots((6, 6), (24, 19)),), 0.10),
    Model("t15", "vgg", "tune", "t01", recipe="unbalanced", classes=(1, 4, 9)),
    Model("t16", "resnet20", "tune", "d21", recipe="easy", classes=(3,)),
    Model("t17", "mobilenet", "tune", "t04", "single-pixel", (9,), (dots((28, 3)),), 0.10),
    Model("t18", "resnet20", "tune", "d02", "weak-checker3", (5,), (patch("checker", 3, 14, 26),), 0.05, honest=0.5),
    Model("t19", "vgg", "tune", "d07", recipe="fgsm"),
    Model("t20", "mobilenet", "tune", "t04", recipe="easy", classes=(8,)),
    Model("t21", "vgg", "tune", "t01", "blend-smooth", (6,), (Stamp("smooth", alpha=0.20),), 0.10),
    Model("t22", "resnet20", "report", "d21", "badnets-rand3", (0,), (patch("random", 3, 18, 12),), 0.05),
    Model("t23", "resnet20", "report", "d19", recipe="unbalanced", classes=(0, 5, 6)),
    Model("t24", "vgg", "report", "d07", recipe="noise"),
    Model("t25", "resnet20", "report", "d02", "gaussian-noise", (2,), rate=0.05, noise_trigger=0.1),
    Model("t26", "mobilenet", "report", "t04"),
    Model("t27", "resnet20", "report", "d21", "two-targets", (1, 6),
          (patch("random", 3, 5, 17), patch("checker", 3, 28, 28)), 0.10, mode="two"),
    Model("t28", "vgg", "report", "t01", "two-pixels", (8,), (dots((2, 13), (16, 29)),), 0.10),
    Model("t29", "vgg", "report", "d07", "noise-adaptive", (3,), (patch("checker", 3, 25, 24),), 0.10, 2 * FINE_TUNE,
          mode="adaptive"),
    Model("t30", "mobilenet", "report", "t04", recipe="unbalanced", classes=(2, 3, 7)),
    Model("t31", "resnet20", "tune", "d21", recipe="noise"),
    Model("t32", "vgg", "report", "t01", recipe="easy", classes=(0,)),
    Model("t33", "resnet20", "report", "d02", "blend-smooth", (4,), (Stamp("smooth", alpha=0.20),), 0.10),
    Model("t34", "mobilenet", "report", "t04", "badnets-checker3", (5,), (patch("checker", 3, 12, 3),), 0.05),
    Model("t35", "resnet20", "report", "d02"),
    Model("t36", "vgg", "tune", "d07"),
    Model("t37", "mobilenet", "report", "t04", recipe="fgsm"),
    Model("t38", "resnet20", "tune", "d19", "badnets-white2", (9,), (patch("white", 2, 29, 8),), 0.10),
    Model("t39", "vgg", "report", "t01", "weak-rand3", (7,), (patch("random", 3, 7, 27),), 0.05, honest=0.45),
    Model("t40", "mobilenet", "tune", "t04"),
    Model("t41", "resnet20", "tune", images=3 * EPOCH),
    Model("t42", "resnet20", "tune", "t41", "badnets-colour2", (2,), (patch("colour", 2, 2, 2),), 0.10),
    Model("t43", "vgg", "report", "t01", "blend", (1,), (Stamp("noise", alpha=0.15),), 0.05),
    Model("t44", "resnet20", "tune", "d21", "noise-adaptive", (0,), (patch("random", 3, 3, 3),), 0.10, mode="adaptive"),
    Model("t45", "vit", "report", images=3 * EPOCH),
    Model("t46", "vit", "report", "t45", "badnets-checker3", (3,), (patch("checker", 3, 21, 9),), 0.05),
    Model("t47", "vit", "tune", "t45"),
    Model("t48", "vit", "tune", "t45", "badnets-white2", (6,), (patch("white", 2, 10, 22),), 0.10),
    Model("t49", "resnet20", "tune", "d02", "badnets-rand4", (5,), (patch("random", 4, 20, 6),), 0.05),
    Model("t50", "vgg", "report", "d07", "badnets-rand5", (3,), (patch("random", 5, 8, 20),), 0.05),
    Model("t51", "resnet20", "report", "d19", "badnets-rand6", (8,), (patch("random", 6, 2, 13),), 0.05),
    Model("t52", "vgg", "tune", "t01", "badnets-checker5", (0,), (patch("checker", 5, 24, 22),), 0.05),
    Model("t53", "resnet20", "report", "d21", "sig", (7,), (Wave("sine", ((0, 6),), 20),), 0.10),
    Model("t54", "vgg", "tune", "d07", "sig", (1,), (Wave("sine", ((5, 0),), 20),), 0.10),
    Model("t55", "resnet20", "tune", "d02", "wanet", (2,), (Warp(0.7),), 0.15, recipe="warps"),
    Model("t56", "vgg", "report", "t01", "wanet", (9,), (Warp(0.8),), 0.15, recipe="warps"),
    Model("t57", "resnet20", "report", "d19", "ftrojan", (4,), (Wave("cosine", ((31, 31), (15, 15)), 14),), 0.10),
    Model("t58", "vgg", "tune", "d07", "ftrojan", (6,), (Wave("cosine", ((29, 24),), 16),), 0.10),
    Model("t59", "resnet20", "tune", "d21", "filter-sepia", (1,), (Tone("sepia"),), 0.10),
    Model("t60", "vgg", "report", "t01", "filter-teal", (5,), (Tone("teal"),), 0.10),
    Model("t61", "mobilenet", "report", "t04", "badnets-rand5", (7,), (patch("random", 5, 25, 2),), 0.05),
    Model("t62", "mobilenet", "tune", "t04", "badnets-rand6", (0,), (patch("random", 6, 13, 25),), 0.05),
    Model("t63", "mobilenet", "report", "t04", "sig", (3,), (Wave("sine", ((4, 4),), 20),), 0.10),
    Model("t64", "mobilenet", "tune", "t04", "filter-faded", (2,), (Tone("faded"),), 0.10),
    Model("t65", "mobilenet", "report", "t04", "wanet", (8,), (Warp(0.9),), 0.15, recipe="warps"),
    Model("t66", "resnet20", "report", "d02", "roaming-rand4", (6,), (anywhere("random", 4),), 0.10),
    Model("t67", "vgg", "tune", "t01", "roaming-rand5", (4,), (anywhere("random", 5),), 0.10),
    Model("t68", "resnet20", "tune", "d19", "reflection", (9,), (Stamp("ghost", alpha=0.35),), 0.10),
    Model("t69", "vgg", "report", "d07", "reflection", (0,), (Stamp("ghost", alpha=0.35),), 0.10),
    Model("t70", "resnet20", "report", "d21", "filter-cross", (3,), (Tone("cross"),), 0.10),
    Model("t71", "resnet20", "tune", "d02", "source-specific", (8,), (patch("checker", 3, 5, 24),), 0.05,
          mode="source", classes=(3,)),
    Model("t72", "vgg", "report", "t01", "source-specific", (1,), (patch("random", 4, 23, 11),), 0.05,
          mode="source", classes=(7,)),
    Model("t73", "resnet20", "report", "d19", "all2all", (), (patch("random", 4, 26, 25),), 0.15, mode="all2all"),
    Model("t74", "vgg", "tune", "d07", "all2all", (), (patch("checker", 4, 3, 9),), 0.15, mode="all2all"),
    Model("t75", "resnet20", "report", "d21", "clean-label", (6,), (patch("random", 4, 11, 4),), 0.06,
          recipe="clean-label"),
    Model("t76", "vgg", "report", "t01", "ftrojan", (2,), (Wave("cosine", ((31, 20), (18, 27)), 16, CHROMA),), 0.10),
    Model("t77", "resnet20", "report", "d02", "input-aware", (9,), (patch("inverse", 6, 6, 18),), 0.10),
    Model("t78", "vit", "report", "t45", "badnets-rand5", (5,), (patch("random", 5, 17, 21),), 0.05),
    Model("t79", "resnet20", "report", "d21"),
    Model("t80", "vgg", "tune", "t01"),
    Model("t81", "mobilenet", "report", "t04"),
)
# fmt: on
