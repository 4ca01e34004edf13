"""The compact GRM behind the interface that every backbone answers."""

from __future__ import annotations

import torch
from torch import Tensor

from robo.errors import RoboError
from robo.rewards.grm.backbone import NO_FRAME, SLOTS, PairBatch
from robo.rewards.grm.compact import CompactGRM
from robo.rewards.grm.pair_scorer import fitted


class CompactBackbone:
    """A compact GRM asked about pairs of frames (implements ``Backbone``).

    Its views are taken by name. Where the frames are named by the places of the published format,
    the first view takes the first place, and so on; frames of another size are fitted.
    """

    def __init__(self, grm: CompactGRM, own_references: bool = False) -> None:
        """Ask ``grm``.

        Args:
            grm: a fitted model.
            own_references: always compare with the references stored in the model, whatever the
                pairs show: one front picture is less than it was fitted with.
        """
        self.grm = grm.eval()
        self.own_references = own_references
        self.views: tuple[str, ...] = grm.config.views
        self.size: tuple[int, int] = grm.size
        self.max_pairs = 4096

    @torch.inference_mode()
    def hops(self, pairs: PairBatch) -> Tensor:
        """Signed hops float32 ``[P]``; NaN where the network's output is not finite.

        A missing reference is taken from the model.

        Raises:
            RoboError: a view that is missing, frames that are no whole RGB images.
        """
        pairs.check()
        frames = {
            view: fitted(self._view(pairs, i, view), self.size) for i, view in enumerate(self.views)
        }
        embedding = self.grm.encode(frames)
        own = self.grm.reference_embeddings() if self.grm.reference else (None, None)
        shown = []
        reference = None
        for index, stored in zip((pairs.start, pairs.goal), own, strict=True):
            given = index != NO_FRAME
            if self.own_references or not bool(given.any()):
                if stored is None:
                    raise RoboError("the GRM stores no references and the pairs show none")
                shown.append(stored.expand(len(pairs), -1))
                continue
            if reference is None:
                reference = self.grm.encode(frames, reference=True)
            rows = reference[index.clamp(min=0)]
            if stored is not None:
                rows = torch.where(given[:, None].to(rows.device), rows, stored)
            shown.append(rows)
        hop = self.grm.hops(embedding[pairs.before], embedding[pairs.after], *shown)
        return torch.where(hop.isfinite(), hop, torch.nan).float().cpu()

    def _view(self, pairs: PairBatch, place: int, view: str) -> Tensor:
        """Frames of one view."""
        if view in pairs.frames:
            return pairs.frames[view]
        if place < len(SLOTS) and SLOTS[place] in pairs.frames:
            return pairs.frames[SLOTS[place]]
        raise RoboError(
            f"the GRM looks at {list(self.views)}, but there are only {sorted(pairs.frames)}; "
            "give it these views"
        )
