"""Layers of packages that were brought to a staging directory: by group, and their bytecode."""

from __future__ import annotations

from collections.abc import Iterable

from drivetrain.images.image import Layer
from drivetrain.images.layer_maker import LayerMaker, few, key_of
from drivetrain.images.packages import Compiling, Distribution, grouped


def package_layers(distributions: Iterable[Distribution], world: str, python: str, maker: LayerMaker) -> list[Layer]:
    """A layer for each group; one of the same packages, whatever project they were for, is the same and made once.

    Args:
        distributions: The packages.
        world: ``model`` or ``server``.
        python: ``MAJOR.MINOR`` of the world: its directories are named after it, which no package's record tells.
        maker: Makes and remembers layers.
    """
    layers = []
    asked = [world, python, maker.options.compression.value, maker.options.strips]
    for name, members in grouped(distributions):
        entries = [entry for one in members for entry in one.entries]
        key = key_of(asked, (one.record for one in members))
        title = f"{'the server: ' if world == 'server' else ''}{name}: {few([str(one.package) for one in members])}"
        layers.append(maker.made_before(key) or maker.remember(key, maker.write(entries, title)))
    return layers


def bytecode_layers(compiling: Compiling, title: str, maker: LayerMaker) -> list[Layer]:
    """A layer of its own: what it holds depends on the interpreter that is here, what the others hold does not."""
    compiled = compiling.entries()
    return [maker.write(compiled, title)] if compiled else []
