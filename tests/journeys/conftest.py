"""What the complaints need: the models on sale, the rehearsal lab, a worker and the API."""

from tests.marketplace.conftest import clip, glyph, still, web
from tests.marketplace.runs.conftest import gpu, lab

__all__ = ["clip", "glyph", "gpu", "lab", "still", "web"]
