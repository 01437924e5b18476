# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What a mean teacher believes of the pictures it is given without labels, class by class, beside their true labels.

    python bench/pseudo_labels.py [--recipe FILE] [--model DIR] [--data DIR] [--every 3] [--json FILE]

The model stands for the teacher at the end of its training, without the temperature that was fitted afterwards.
`believed` is the number of pixels that get a label of the class, with a probability above the threshold, over the
number of its true ones; `right` is how many of those labels are. A class that is never believed is never taught.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from vss_ros.assemble import load_card, loaded_stages, plan_for
from vss_ros.cli.options import write_json
from vss_ros.evaluate.machine import machine
from vss_ros.evaluate.metrics import ConfusionMatrix
from vss_ros.train.clips import part_of
from vss_ros.train.datasets import data_set_of
from vss_ros.train.recipe import load_recipe
from vss_ros.train.teacher import CERTAIN, pseudo_labels
from vss_ros.train.temperature import set_temperature
from vss_ros.train.unroll import unroll

Figures = dict[str, Any]


def measure(recipe_file: Path, model: Path, data: Path, every: int) -> Figures:
    """Shares of all pixels and of each class's, over every `every`-th picture of the recipe's unlabelled part."""
    recipe, card = load_recipe(recipe_file), load_card(model)
    plan = plan_for(card.method, card.options)
    stages = loaded_stages(card, plan).eval()
    set_temperature(stages, 1.0)
    (source,) = recipe.phases[-1].unlabelled
    pictures = part_of(data_set_of(recipe).pictures(data, "train"), source.part, recipe.seed)
    confusion = ConfusionMatrix(len(card.labels))
    for index in range(0, len(pictures), every):
        image, truth = pictures[index]
        with torch.inference_mode():
            logits = unroll(plan, card.host, stages, torch.from_numpy(np.ascontiguousarray(image))[None, None])
            believed = pseudo_labels(logits.float(), CERTAIN)[0].numpy()
        confusion.add(np.asarray(truth), believed)
    true, said, right = confusion.counts.sum(1), confusion.counts[:, :-1].sum(0), confusion.counts.diagonal()
    rows = [
        {"class": name, "share": t / true.sum(), "believed": s / max(t, 1), "right": r / s if s else None}
        for name, t, s, r in zip(card.labels, true, said, right, strict=True)
    ]
    return {"believed": said.sum() / true.sum(), "right": right.sum() / max(said.sum(), 1), "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=Path("config/recipes/ssltm_teacher_erfnet_camvid.yaml"))
    parser.add_argument("--model", type=Path, default=Path("runs/models/ssltm_teacher_erfnet_camvid"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data/camvid"))
    parser.add_argument("--every", type=int, default=3)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    found = measure(chosen.recipe, chosen.model, chosen.data, chosen.every)
    table = Table("class", "share of pixels", "believed", "right of these", title=chosen.model.name)
    for row in found["rows"]:
        right = "-" if row["right"] is None else f"{row['right']:.3f}"
        table.add_row(row["class"], f"{row['share']:.3f}", f"{row['believed']:.3f}", right)
    table.add_row("all", "1.000", f"{found['believed']:.3f}", f"{found['right']:.3f}")
    Console().print(table)
    if chosen.json:
        write_json(chosen.json, {"model": chosen.model.name, **found, "machine": machine()})


if __name__ == "__main__":
    main()
